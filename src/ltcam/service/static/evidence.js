// Why the run in use inspects as it does: verdict, maps and contrast with the reasons that its training wrote down.
import * as api from "./api.js";
import { make } from "./page.js";
import { t } from "./texts.js";

export async function drawEvidence(page) {
  const model = await api.model();
  const cards = [modelCard(model), verdictCard(model), mapsCard(model), kindsCard(model), contrastCard(model), settingsCard(model)];
  page.replaceChildren(make("h1", { textContent: t("evidenceOf") }), ...cards.filter(Boolean));
}

const card = (title, ...children) => make("div", { className: "card" }, make("h2", { textContent: title }), ...children);

function table(head, rows) {
  return make("div", { className: "scroll", tabIndex: 0 }, make("table", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col", textContent: text }))),
    ...rows.map((row) => make("tr", {}, ...row.map((text) => make("td", { textContent: text }))))));
}

function modelCard(model) {
  const parts = [make("p", { className: "said", textContent: `SHA-256 ${model.sha256}` })];
  if (model.report) parts.push(make("p", {}, make("a", { href: model.report, target: "_blank", rel: "noopener", textContent: t("report") })));
  return card(`${t("model")} ${model.name}`, ...parts);
}

function verdictCard({ settings, evidence }) {
  if (!settings.verdict) return null;
  const { threshold, unsure_margin: margin, evidence: why } = settings.verdict;
  const epoch = evidence.best_epoch === undefined ? [] : [make("p", { className: "said", textContent: `${t("epoch")} ${evidence.best_epoch + 1}: ${evidence.epoch_chosen_by ?? ""}` })];
  return card(t("verdictWhy"), make("p", { textContent: `${t("threshold")} ${threshold.toFixed(4)}${margin ? ` ± ${margin}` : ""}` }), make("p", { className: "said", textContent: why }), ...epoch);
}

function mapsCard({ settings }) {
  if (!settings.maps) return null;
  const shortly = (stage) => stage.replace(/^trunk\./, "");
  return card(t("maps"), table([t("mapName"), t("method"), t("stages"), t("fusion"), t("truncation")], Object.entries(settings.maps).map(([name, map]) =>
    [name, map.method, map.stages.map(shortly).join(", "), map.fusion, map.percentile ?? t("noTruncation")])));
}

function kindsCard({ settings, classes, evidence }) {
  if (!settings.default) return null;
  const named = classes.slice(1).filter((name) => settings.kinds?.[name]);
  const row = (name, { map, sharpening, mask }) => [name, map, t(`contrast_${sharpening.polarity}`), `${Math.round(100 * sharpening.window)} %`, mask.threshold, mask.reach, trustOf(evidence.kinds?.[name])];
  const rows = [...named.map((name) => row(name, settings.kinds[name])), ...(named.length < classes.length - 1 ? [row(named.length ? t("others") : classes.slice(1).join(", "), settings.default)] : [])];
  return card(t("perKind"), table(["kind", "method", "contrast", "window", "threshold", "reach", "trust"].map(t), rows), make("p", { className: "said", textContent: t("trustHint") }));
}

function trustOf(why) {
  return why?.trust ? `${t(`trust_${why.trust}`)}, ${Math.max(0, Math.round(100 * why.explained))} %` : "";
}

function contrastCard({ evidence }) {
  const found = evidence.sharpening;
  if (!found?.candidates?.length) return null;
  const number = (value, digits) => (typeof value === "number" ? value.toFixed(digits) : "");
  return card(t("tried"), make("p", { className: "said", textContent: found.sentence ?? "" }),
    table(["contrast", "window", "drop", "share", "value"].map(t), found.candidates.map((candidate) =>
      [t(`contrast_${candidate.polarity}`), `${Math.round(100 * candidate.window)} %`, number(candidate.drop, 3), number(candidate.area, 3), number(candidate.value, 3)])));
}

function settingsCard({ settings }) {
  const details = make("details", {}, make("summary", { textContent: t("settings") }), table(["", ""], rowsOf(settings)));
  return make("div", { className: "card" }, details);
}

function rowsOf(settings, before = "") {
  return Object.entries(settings).flatMap(([name, value]) => {
    const path = before ? `${before} · ${name}` : name;
    const nested = value !== null && typeof value === "object" && !Array.isArray(value);
    return nested ? rowsOf(value, path) : [[path, Array.isArray(value) ? value.join(", ") : String(value)]];
  });
}
