// The studio: history at the left, the image in the middle, what was found and what a person says at the right.
import * as api from "./api.js";
import * as asking from "./asking.js";
import { drawEvidence } from "./evidence.js";
import { $, make, say } from "./page.js";
import { language, setLanguage, t, visible } from "./texts.js";
import { drawTrainings } from "./train.js";
import { Viewer } from "./viewer.js";

const KEYS = [["J / K, ↓ / ↑", "keyNext"], ["C F M O", "keySay"], ["B E V", "keyTools"], ["Ctrl Z", "keyUndo"], ["Ctrl S", "keySave"], ["+ − 0", "keyZoom"], ["H, N", "keyHeat"]];
const state = { items: [], before: null, current: null, classes: [] };

const viewer = new Viewer($("view"), $("sheet"), $("picture"), $("overlay"), toolsChanged);

async function trying(action) {
  try {
    return await action();
  } catch (error) {
    say(error.message);
    return undefined;
  }
}

// ------------------------------------------------------------------------------------------------------ history

function query() {
  const form = new FormData($("filter"));
  const what = form.get("what"), wanted = { limit: what === "queue" ? 500 : 50 };
  if (form.get("text")) wanted.text = form.get("text");
  if (what === "queue") Object.assign(wanted, { reviewed: false });
  else if (what) wanted.verdict = what;
  return wanted;
}

function doubt(item) {
  const threshold = state.threshold ?? 0.5;
  return item.verdict === "unsure" ? 0 : Math.abs(item.score - threshold);
}

async function loadList(more = false) {
  const mine = (state.asked = (state.asked ?? 0) + 1);
  await trying(async () => {
    const page = await api.inspections(more ? { ...query(), before: state.before } : query());
    if (mine !== state.asked) return; // another list was asked for meanwhile
    state.items = more ? [...state.items, ...page.items] : page.items;
    state.before = page.before;
    if (new FormData($("filter")).get("what") === "queue") state.items.sort((a, b) => doubt(a) - doubt(b));
    drawList();
  });
}

function drawList() {
  $("list").replaceChildren(...state.items.map(rowOf));
  if (!state.items.length) $("list").append(make("li", { className: "said", textContent: t("nothing") }));
  $("older").hidden = state.before === null;
}

function rowOf(item) {
  const picture = make("img", { alt: "", loading: "lazy", width: 56, height: 44 });
  if (item.links.image) picture.src = item.links.image;
  const how = make("span", { className: "how" }, make("span", { className: `dot ${item.verdict}` }),
    `${t(item.verdict)} ${item.score.toFixed(2)}${item.review ? " ✓" : ""}`);
  const button = make("button", { type: "button", title: visible(item.name), onclick: () => open(item.id) }, picture,
    make("span", {}, make("span", { className: "what", textContent: visible(item.name) }), how));
  button.dataset.id = item.id;
  if (item.id === state.current?.id) button.setAttribute("aria-current", "true");
  return make("li", {}, button);
}

function step(by) {
  const at = state.items.findIndex((item) => item.id === (state.opening ?? state.current?.id));
  const next = state.items[Math.max(0, Math.min(state.items.length - 1, at + by))];
  if (next) open(next.id);
}

// ------------------------------------------------------------------------------------------------ one inspection

// Everything of it is fetched before anything is shown: image, panel and what a key says always belong together.
async function open(id) {
  if (viewer.canUndo && id !== state.current?.id && !confirm(t("unsaved"))) return;
  state.opening = id;
  await trying(async () => {
    const item = await api.inspection(id);
    const pictures = item.links.image ? await Promise.all([
      ...["image", "heatmap", "mask"].map((what) => api.bitmap(item.links[what])),
      item.review?.painted ? api.bitmap(`/v1/inspections/${id}/painted`) : null,
    ]) : null;
    if (state.opening !== id) return; // somebody was faster
    state.current = item;
    for (const button of $("list").querySelectorAll("button")) {
      if (button.dataset.id === id) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    drawPanel(item);
    $("empty").hidden = pictures !== null;
    if (pictures === null) {
      viewer.clear();
    } else {
      const [image, heatmap, mask, painted] = pictures;
      viewer.show({ image, heatmap, mask, painted, boxes: item.regions.map((region) => region.box) });
    }
    toolsChanged();
  });
}

function drawPanel(item) {
  $("panel").hidden = false;
  $("name").textContent = visible(item.name);
  $("verdict").className = `chip ${item.verdict}`;
  $("verdict").textContent = t(item.verdict);
  $("score").textContent = `${t("score")} ${item.score.toFixed(3)}`;
  $("overlay").setAttribute("aria-label", `${item.name}: ${t(item.verdict)}, ${item.regions.length} ${t("regions")}`);
  const facts = [["time", new Date(item.time).toLocaleString(language())], ["lot", item.lot], ["size", `${item.width} × ${item.height} px`], ["record", `${item.sequence} · ${item.hash.slice(0, 12)}`]];
  $("facts").replaceChildren(...facts.filter(([, value]) => value).flatMap(([name, value]) =>
    [make("dt", { textContent: t(name) }), make("dd", { textContent: value })]));
  $("kind").replaceChildren(make("option", { value: "", textContent: t("asFound") }),
    ...state.classes.slice(1).map((name) => make("option", { value: name, textContent: name })));
  $("kind").value = item.review?.kind ?? "";
  $("note").value = item.review?.note ?? "";
  drawReview(item.review);
  const head = make("tr", {}, make("th", { scope: "col", textContent: t("kind") }), ...["area", "length"].map((name) => make("th", { scope: "col", className: "number", textContent: t(name) })));
  const rows = item.regions.slice(0, 20).map((region) => make("tr", {}, make("td", { textContent: region.class }),
    make("td", { className: "number", textContent: region.area_px }), make("td", { className: "number", textContent: region.length_px.toFixed(1) })));
  $("regions").replaceChildren(...(rows.length ? [head, ...rows] : [make("tr", {}, make("td", { textContent: t("noRegions") }))]));
  for (const [id, value] of [["threshold", 128], ["reach", 100]]) $(id).value = value;
  drawSliders();
  asking.reset();
  $("what-if").textContent = "";
}

function drawReview(review) {
  for (const button of $("choices").children) {
    const chosen = review?.decision === button.dataset.decision;
    button.classList.toggle("chosen", chosen);
    button.setAttribute("aria-pressed", String(chosen));
  }
  $("said").textContent = review ? `${t("saidOn")} ${new Date(review.time).toLocaleString(language())}` : "";
}

async function decide(decision) {
  if (!state.current) return;
  const { id } = state.current;
  await trying(async () => {
    const item = await api.review(id, { decision, kind: $("kind").value, note: $("note").value });
    reviewed(item);
    say(`${visible(item.name)}: ${t("saved")}`);
  });
}

async function savePainted() {
  if (!viewer.painted || !viewer.canUndo) return;
  const { id } = state.current;
  await trying(async () => {
    const item = await api.paint(id, await viewer.paintedPng());
    if (reviewed(item)) {
      viewer.undoable = [];
      toolsChanged();
    }
    say(`${t("mask")}: ${t("saved")}`);
  });
}

// Whether what was reviewed is still shown: who is fast is at another one when the answer comes.
function reviewed(item) {
  state.items = state.items.map((other) => (other.id === item.id ? item : other));
  const shown = item.id === state.current?.id;
  if (shown) {
    state.current = item;
    drawReview(item.review);
  }
  drawList();
  return shown;
}

// ------------------------------------------------------------------------------------------------ tools and layers

function toolsChanged() {
  $("undo").disabled = !viewer.canUndo;
  $("save-painted").disabled = !viewer.canUndo || !viewer.painted;
}

function chooseTool(tool) {
  viewer.setTool(tool);
  for (const button of $("tools").querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
}

function drawSliders() {
  $("threshold-value").textContent = (Number($("threshold").value) / 255).toFixed(2);
  $("reach-value").textContent = `${$("reach").value} %`;
  $("opacity-value").textContent = `${$("opacity").value} %`;
}

function asInspected() {
  asking.reset();
  for (const [id, value] of [["threshold", 128], ["reach", 100]]) $(id).value = value;
  drawSliders();
  viewer.asInspected();
  $("what-if").textContent = "";
}

function showAnswer(answer) {
  $("what-if").textContent = "";
  if (answer === null) viewer.asInspected();
  else viewer.showFound(answer.heatmap, answer.mask, answer.regions.map((region) => region.box));
}

function whatIf() {
  drawSliders();
  if (!viewer.width) return;
  const area = viewer.cut(Number($("threshold").value), Number($("reach").value) / 100);
  $("what-if").textContent = `${area} ${t("marked")} (${((100 * area) / (viewer.width * viewer.height)).toFixed(2)} %)`;
}

function layersChanged() {
  Object.assign(viewer.layers, { heatmap: $("show-heatmap").checked, mask: $("show-mask").checked, regions: $("show-regions").checked, opacity: Number($("opacity").value) / 100 });
  drawSliders();
  viewer.redraw();
}

// ------------------------------------------------------------------------------------------------------- new images

async function inspectFiles(files) {
  let done = 0, last = null;
  const failed = [];
  for (const file of files) {
    say(`${t("inspecting")} ${done + 1}/${files.length}: ${file.name}`);
    try {
      last = await api.inspect(file);
    } catch (error) {
      failed.push(`${visible(file.name)}: ${error.message}`);
    }
    done += 1;
  }
  await loadList();
  if (last) await open(last.id);
  say(`${done - failed.length} ${t("inspected")}`);
  if (failed.length) {
    $("failed-title").textContent = `${failed.length} ${t("failed")}`;
    $("failed-list").replaceChildren(...failed.map((textContent) => make("li", { textContent })));
    $("failed").showModal();
  }
}

// ------------------------------------------------------------------------------------------------------------- pages

async function loadModel() {
  await trying(async () => {
    const model = await api.model();
    state.classes = model.classes;
    state.model = model;
    asking.drawChoices(model);
    state.threshold = model.settings?.verdict?.threshold;
    $("model").textContent = `${t("model")}: ${model.name} · ${model.sha256.slice(0, 8)}`;
  });
}

function showPage() {
  const page = location.hash.replace(/^#\/?/, "").split("/")[0] || "inspect";
  for (const name of ["inspect", "train", "evidence"]) {
    $(`page-${name}`).hidden = name !== page;
    const link = document.querySelector(`[data-page="${name}"]`);
    if (name === page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (page === "train") trying(() => drawTrainings($("page-train"), loadModel));
  if (page === "evidence") trying(() => drawEvidence($("page-evidence")));
}

function translate(name) {
  setLanguage(name);
  try {
    localStorage.setItem("ltcam-language", name);
  } catch { /* a browser without storage forgets it */ }
  $("language").value = language();
  $("key-table").replaceChildren(...KEYS.map(([keys, meaning]) =>
    make("tr", {}, make("td", {}, make("kbd", { textContent: keys })), make("td", { textContent: t(meaning) }))));
  drawList();
  if (state.model) asking.drawChoices(state.model);
  if (state.current) drawPanel(state.current);
  showPage();
}

function onKey(event) {
  if (event.target.matches("input:not([type=range]):not([type=checkbox]), select, textarea") || document.querySelector("dialog[open]")) return;
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    const action = { z: () => viewer.undo(), s: savePainted }[key];
    if (action) {
      event.preventDefault();
      action();
    }
    return;
  }
  if (event.altKey || (["arrowup", "arrowdown"].includes(key) && event.target.matches("input"))) return;
  const toggled = (id) => () => {
    $(id).checked = !$(id).checked;
    layersChanged();
  };
  const action = {
    j: () => step(1), arrowdown: () => step(1), k: () => step(-1), arrowup: () => step(-1),
    c: () => decide("confirmed"), f: () => decide("false_alarm"), m: () => decide("missed"), o: () => decide("ok"),
    b: () => chooseTool("brush"), e: () => chooseTool("eraser"), v: () => chooseTool("move"),
    "+": () => viewer.zoom(1.25), "-": () => viewer.zoom(0.8), 0: () => viewer.fit(),
    h: toggled("show-heatmap"), n: toggled("show-mask"), "?": () => $("help").showModal(),
  }[key];
  if (action) {
    event.preventDefault();
    action();
  }
}

function listen() {
  let typing;
  addEventListener("beforeunload", (event) => {
    if (viewer.canUndo) event.preventDefault();
  });
  $("filter").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => loadList(), 200);
  });
  $("filter").addEventListener("submit", (event) => event.preventDefault());
  $("older").onclick = () => loadList(true);
  $("files").onchange = (event) => inspectFiles([...event.target.files]);
  $("drop").addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      $("files").click();
    }
  });
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      document.body.classList.add("dropping");
    });
  }
  document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    inspectFiles([...event.dataTransfer.files]);
  });
  $("take-out").onclick = () => {
    const { limit, ...wanted } = query();
    location.href = api.exportAddress({ ...wanted, format: $("take-out-as").value });
  };
  for (const button of $("choices").children) button.onclick = () => decide(button.dataset.decision);
  for (const button of $("tools").querySelectorAll("[data-tool]")) button.onclick = () => chooseTool(button.dataset.tool);
  $("brush-size").oninput = (event) => (viewer.brush = Number(event.target.value));
  $("undo").onclick = () => viewer.undo();
  $("save-painted").onclick = savePainted;
  $("zoom-in").onclick = () => viewer.zoom(1.25);
  $("zoom-out").onclick = () => viewer.zoom(0.8);
  $("zoom-fit").onclick = () => viewer.fit();
  for (const id of ["show-heatmap", "show-mask", "show-regions", "opacity"]) $(id).oninput = layersChanged;
  for (const id of ["threshold", "reach"]) $(id).oninput = whatIf;
  $("as-inspected").onclick = asInspected;
  asking.listen({ current: () => (viewer.width ? state.current?.id : null), show: showAnswer, say });
  $("language").onchange = (event) => translate(event.target.value);
  $("help-open").onclick = () => $("help").showModal();
  window.addEventListener("hashchange", showPage);
  document.addEventListener("keydown", onKey);
}

let remembered = null;
try {
  remembered = localStorage.getItem("ltcam-language");
} catch { /* as above */ }
listen();
chooseTool("move");
translate(remembered ?? (navigator.language.startsWith("de") ? "de" : "en"));
await loadModel();
await loadList();
if (state.items.length) await open(state.items[0].id);
