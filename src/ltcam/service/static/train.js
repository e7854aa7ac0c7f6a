// Train from the studio: what data check says of a folder, one training at a time, old and new run side by side.
import * as api from "./api.js";
import { loadModel, say } from "./main.js";
import { t } from "./texts.js";

let timer = null;

function make(name, fields = {}, ...children) {
  const element = Object.assign(document.createElement(name), fields);
  element.append(...children);
  return element;
}

const button = (text, onclick, className = "") => make("button", { type: "button", textContent: text, onclick, className });

async function acting(page, action) {
  try {
    await action();
  } catch (error) {
    say(error.message);
  }
  await drawTrainings(page);
}

export async function drawTrainings(page) {
  clearTimeout(timer);
  const [{ names }, { items }, model] = await Promise.all([api.datasets(), api.trainings(), api.model()]);
  const running = items.some((item) => item.state === "running");
  page.replaceChildren(
    make("h1", { textContent: t("pageTrain") }),
    names.length ? startCard(page, names, running) : make("p", { className: "card", textContent: t("noData") }),
    ...items.map((item) => trainingCard(page, item, running, model)),
    rollBackCard(page, model),
  );
  if (running && !page.hidden) timer = setTimeout(() => !page.hidden && drawTrainings(page), 1500);
}

function startCard(page, names, running) {
  const chosen = make("select", { id: "dataset" }, ...names.map((name) => make("option", { value: name, textContent: name })));
  const findings = make("div", { id: "findings" });
  const checkNow = async () => {
    try {
      drawFindings(findings, await api.check(chosen.value));
    } catch (error) {
      say(error.message);
    }
  };
  return make("div", { className: "card" },
    make("div", { className: "row" }, make("label", {}, t("dataset"), chosen), button(t("check"), checkNow),
      Object.assign(button(t("start"), () => acting(page, () => api.startTraining(chosen.value)), "main"), { disabled: running })),
    findings);
}

function drawFindings(place, found) {
  place.replaceChildren(
    make("p", { textContent: found.summary }),
    make("ul", {}, ...found.findings.map((text) => make("li", { textContent: text }))));
}

function trainingCard(page, item, running, model) {
  const card = make("div", { className: "card" }, make("h2", { textContent: `${item.run} · ${t(item.state)}` }));
  if (item.state === "running") {
    const text = item.total ? `${item.stage} ${item.done}/${item.total}${item.left ? ` · ${item.left} ${t("left")}` : ""}` : item.stage;
    card.append(make("label", {}, text, make("progress", { max: item.total || 1, value: item.total ? item.done : 0 })), button(t("cancel"), () => acting(page, () => api.cancelTraining(item.id))));
  }
  if (["cancelled", "interrupted", "failed"].includes(item.state)) {
    card.append(Object.assign(button(t("resume"), () => acting(page, () => api.resumeTraining(item.id))), { disabled: running }));
  }
  if (item.message) card.append(make("p", { className: "said", textContent: item.message }));
  if (item.state === "done") {
    const result = make("div", {});
    const compareNow = async () => {
      try {
        drawComparison(result, await api.compareRun(item.run));
      } catch (error) {
        say(error.message);
      }
    };
    const inUse = model.name === item.run;
    card.append(make("div", { className: "row" }, button(t("compare"), compareNow),
      Object.assign(button(inUse ? t("inUse") : t("promote"), () => acting(page, async () => {
        await api.promote(item.run);
        await loadModel();
      }), "main"), { disabled: inUse })), result);
  }
  return card;
}

function drawComparison(place, found) {
  const head = make("tr", {}, ...["", found.old, found.new].map((text) => make("th", { scope: "col", textContent: text })));
  const rows = found.items.filter((item) => item.old !== item.new).map((item) => make("tr", {}, make("td", { textContent: item.name }),
    ...["old", "new"].map((side) => make("td", { textContent: `${t(item[side])} ${item[`${side}_score`].toFixed(2)}` }))));
  place.replaceChildren(make("p", { textContent: `${found.items.length} ${t("images")}, ${rows.length} ${t("changedVerdicts")}` }), ...(rows.length ? [make("table", {}, head, ...rows)] : []));
}

function rollBackCard(page, model) {
  const text = make("p", { textContent: `${t("model")}: ${model.name}` });
  const back = Object.assign(button(t("rollBack"), () => acting(page, async () => {
    await api.rollBack();
    await loadModel();
  })), { disabled: !model.can_roll_back });
  return make("div", { className: "card" }, text, back);
}
