"""Hooks for one block and one thread."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from ltcam.cam.network.hooks import Hooks


def test_hooks_see_and_replace_what_goes_in_and_out_of_this_thread_only() -> None:
    net = nn.Sequential(nn.Identity(), nn.Identity())
    one, results = torch.ones(1), []
    with Hooks() as hooks:
        hooks.before(net[0], lambda inputs: (inputs[0] + 1,))
        hooks.behind(net[1], lambda inputs, output: 10 * output + inputs[0])
        assert net(one).item() == 22
        other = threading.Thread(target=lambda: results.append(net(one).item()))
        other.start()
        other.join()
    assert results == [1]
    assert net(one).item() == 1


def test_none_is_left_whatever_is_raised() -> None:
    net = nn.Sequential(nn.Identity())

    def look() -> None:
        with Hooks() as hooks:
            hooks.before(net[0], lambda inputs: None)
            hooks.behind(net[0], lambda inputs, output: 1 / 0)
            net(torch.ones(1))

    with pytest.raises(ZeroDivisionError):
        look()
    assert not net[0]._forward_hooks
    assert not net[0]._forward_pre_hooks
