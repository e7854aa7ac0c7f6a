// Train from the studio: what data check says of a folder, one training at a time, old and new run side by side.
import * as api from "./api.js";
import { make, say } from "./page.js";
import { t, visible } from "./texts.js";

const POLL = 1500; // ms between two looks at a running training
let timer = null, view = null;

const button = (text, onclick, className = "") => make("button", { type: "button", textContent: text, onclick, className });

async function acting(action) {
  try {
    await action();
    await refresh();
  } catch (error) {
    say(error.message);
  }
}

export async function drawTrainings(page, loadModel) {
  const { names } = await api.datasets();
  view = { page, loadModel, cards: new Map(), list: make("div"), back: make("div"), start: button(t("start"), null, "main") };
  page.replaceChildren(
    make("h1", { textContent: t("pageTrain") }),
    names.length ? startCard(names) : make("p", { className: "card", textContent: t("noData") }), view.list, view.back);
  await refresh();
}

// Cards stay while nothing but their numbers change: what has the focus, and what was unfolded, stays as it is.
async function refresh() {
  clearTimeout(timer);
  const mine = view;
  const [{ items }, model] = await Promise.all([api.trainings(), api.model()]);
  if (mine !== view) return;
  const running = items.some((item) => item.state === "running");
  view.start.disabled = running;
  for (const item of items) {
    const known = view.cards.get(item.id), key = JSON.stringify([item.state, item.message, running, model.name === item.run]);
    if (known?.key !== key) view.cards.set(item.id, { key, epochs: known?.epochs ?? epochsOf(item), ...trainingCard(item, running, model) });
    const card = view.cards.get(item.id);
    if (!card.element.contains(card.epochs.element)) card.element.append(card.epochs.element);
    card.progress(item);
    card.epochs.update(item).catch((error) => say(error.message));
  }
  const wanted = items.map((item) => view.cards.get(item.id).element);
  if (wanted.some((element, place) => view.list.children[place] !== element)) view.list.replaceChildren(...wanted);
  view.back.replaceChildren(rollBackCard(model));
  if (running && !view.page.hidden) timer = setTimeout(() => !view.page.hidden && refresh().catch((error) => say(error.message)), POLL);
}

function startCard(names) {
  const chosen = make("select", { id: "dataset" }, ...names.map((name) => make("option", { value: name, textContent: name })));
  const findings = make("div", { id: "findings" });
  const checkNow = async () => {
    findings.replaceChildren(make("p", { className: "said", textContent: t("checking") }));
    try {
      drawFindings(findings, await api.check(chosen.value));
    } catch (error) {
      findings.replaceChildren();
      say(error.message);
    }
  };
  chosen.onchange = () => findings.replaceChildren();
  view.start.onclick = () => acting(() => api.startTraining(chosen.value));
  return make("div", { className: "card" },
    make("div", { className: "row" }, make("label", {}, t("dataset"), chosen), button(t("check"), checkNow), view.start),
    make("p", { className: "said", textContent: t("trainHint") }), findings);
}

// ---------------------------------------------------------------------------------------------------- what check says

function drawFindings(place, found) {
  const ready = { yes: "readyYes", "with care": "readyWithCare", no: "readyNo" }[found.ready];
  place.replaceChildren(
    make("p", {}, make("span", { className: `chip ${{ yes: "ok", "with care": "unsure", no: "defect" }[found.ready]}`, textContent: t(ready) }), ` ${found.summary}`),
    ...found.notes.map((text) => make("p", { className: "said", textContent: text })),
    ...found.findings.map(findingOf),
    ...found.classes.filter((kind) => kind.images.length).map((kind) =>
      section(`${kind.name} · ${kind.count} ${t("images")}`, "", gallery(kind.images), kind.count - kind.images.length)));
}

function findingOf(finding) {
  const level = make("span", { className: `level ${finding.level}`, textContent: t(`level_${finding.level}`) });
  const [shown, plain] = [finding.images.filter((each) => each.pictures.length), finding.images.filter((each) => !each.pictures.length)];
  const names = plain.length ? make("ul", { className: "said" }, ...plain.map((each) => make("li", { textContent: [visible(each.name), each.reason].filter(Boolean).join(": ") }))) : "";
  return section(`${finding.title} (${finding.count})`, finding.advice, gallery(shown), finding.count - finding.images.length, level, names);
}

function section(title, said, pictures, more, level = "", names = "") {
  return make("section", { className: "finding" }, make("h3", {}, level, title), said ? make("p", { className: "said", textContent: said }) : "",
    pictures, names, more > 0 ? make("p", { className: "said", textContent: `${t("andMore")} ${more}` }) : "");
}

function gallery(images) {
  return make("div", { className: "pictures" }, ...images.map(({ name, reason, pictures }) => make("figure", {},
    make("div", { className: "together" }, ...pictures.map((src) => make("img", { src, alt: "" }))),
    make("figcaption", { textContent: [visible(name), reason].filter(Boolean).join(": ") }))));
}

// -------------------------------------------------------------------------------------------------------- a training

function trainingCard(item, running, model) {
  const card = make("div", { className: "card" }, make("h2", { textContent: `${item.run} · ${t(item.state)}` }));
  let progress = () => {};
  if (item.state === "running") {
    const text = document.createTextNode(""), bar = make("progress", {});
    progress = ({ stage, done, total, left }) => {
      text.data = total ? `${stage} ${done}/${total}${left ? ` · ${left} ${t("left")}` : ""}` : stage;
      Object.assign(bar, { max: total || 1, value: total ? done : 0 });
    };
    card.append(make("label", {}, text, bar), button(t("cancel"), () => acting(() => api.cancelTraining(item.id))));
  }
  if (["cancelled", "interrupted", "failed"].includes(item.state)) {
    card.append(Object.assign(button(t("resume"), () => acting(() => api.resumeTraining(item.id))), { disabled: running }));
  }
  if (item.message) card.append(make("p", { className: "said", textContent: item.message }));
  if (item.state === "done") card.append(...doneParts(item, model));
  return { element: card, progress };
}

function doneParts(item, model) {
  const result = make("div", {});
  const compareNow = async () => {
    try {
      drawComparison(result, await api.compareRun(item.run));
    } catch (error) {
      say(error.message);
    }
  };
  const inUse = model.name === item.run;
  const promote = Object.assign(button(inUse ? t("inUse") : t("promote"), () => acting(async () => {
    await api.promote(item.run);
    await view.loadModel();
  }), "main"), { disabled: inUse });
  return [make("div", { className: "row" }, button(t("compare"), compareNow), promote), result];
}

// What the network would mark after each epoch: the latest one, until somebody goes back to an earlier one.
function epochsOf(item) {
  const slider = make("input", { type: "range", min: 1, value: 1, ariaLabel: t("epoch") }), said = make("output", {});
  const pictures = make("div", { className: "pictures" });
  const element = make("details", { className: "epochs", open: item.state === "running", hidden: true },
    make("summary", { textContent: t("epochMasks") }), make("label", { className: "epoch" }, slider, said), pictures, make("p", { className: "said", textContent: t("epochHint") }));
  let items = [];
  const draw = () => {
    const chosen = items[slider.value - 1];
    said.textContent = `${t("epoch")} ${chosen.epoch}${chosen.ap === null ? "" : ` · ${t("ap")} ${chosen.ap.toFixed(3)}`}`;
    pictures.replaceChildren(...chosen.pictures.map(({ picture, image, label, score, held_back: heldBack }) => make("figure", {},
      make("img", { src: picture, alt: `${visible(image)}: ${label}, ${t("score")} ${score.toFixed(2)}` }),
      make("figcaption", { textContent: `${label} · ${score.toFixed(2)}${heldBack ? "" : ` · ${t("trainedOn")}`}` }))));
  };
  slider.oninput = draw;
  const update = async ({ id, epochs }) => {
    if (epochs === items.length) return;
    const found = (await api.epochs(id)).items, atTheEnd = Number(slider.value) >= items.length;
    items = found;
    slider.max = items.length;
    if (atTheEnd) slider.value = items.length;
    slider.hidden = items.length < 2;
    element.hidden = !items.length;
    if (items.length) draw();
  };
  return { element, update };
}

function drawComparison(place, found) {
  const head = make("tr", {}, ...["", found.old, found.new].map((text) => make("th", { scope: "col", textContent: text })));
  const rows = found.items.filter((item) => item.old !== item.new).map((item) => make("tr", {}, make("td", { textContent: item.name }),
    ...["old", "new"].map((side) => make("td", { textContent: `${t(item[side])} ${item[`${side}_score`].toFixed(2)}` }))));
  place.replaceChildren(make("p", { textContent: `${found.items.length} ${t("images")}, ${rows.length} ${t("changedVerdicts")}` }), ...(rows.length ? [make("table", {}, head, ...rows)] : []));
}

function rollBackCard(model) {
  const text = make("p", { textContent: `${t("model")}: ${model.name}` });
  const back = Object.assign(button(t("rollBack"), () => acting(async () => {
    await api.rollBack();
    await view.loadModel();
  })), { disabled: !model.can_roll_back });
  return make("div", { className: "card" }, text, back);
}
