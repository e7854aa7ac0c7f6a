// What the network would say with other settings: choices at the right, asked at once, drawn in the viewer; nothing of
// it is kept. Side by side: every map, and every stage alone, on this image.
import * as api from "./api.js";
import { $ } from "./page.js";
import { t } from "./texts.js";

const FUSIONS = ["product", "sum", "mean", "max"];
const PERCENTILES = ["none", "50", "70", "80", "90", "95", "99"];
const CONTRASTS = ["none", "dark", "bright", "either", "both", "colour"];
const WINDOWS = ["0.05", "0.12", "0.25", "0.6", "1"];
const FIELDS = ["method", "stages", "fusion", "percentile", "sharpen", "window"];

const fieldOf = (name) => $(`ask-${name}`);

function options(name, values, names = values) {
  const kept = fieldOf(name).value;
  fieldOf(name).replaceChildren(new Option(t("asRun"), ""), ...values.map((value, place) => new Option(names[place], value)));
  fieldOf(name).value = [...fieldOf(name).options].some((option) => option.value === kept) ? kept : "";
}

export function drawChoices(model) {
  const stages = model.stages.map((_, place) => String(place + 1));
  options("method", model.methods);
  options("stages", stages, stages.map((number) => `${t("onlyStage")} ${number}`));
  options("fusion", FUSIONS);
  options("percentile", PERCENTILES, [t("noTruncation"), ...PERCENTILES.slice(1)]);
  options("sharpen", CONTRASTS, CONTRASTS.map((name) => t(`contrast_${name}`)));
  options("window", WINDOWS, WINDOWS.map((share) => `${Math.round(100 * share)} %`));
  for (const name of ["method", "stages", "fusion", "percentile"]) $(`${name}-label`).hidden = !model.methods.length;
  $("side-by-side").hidden = !model.methods.length;
}

// Of questions and of galleries the latest counts: what an earlier one is answered is not shown.
let asking = 0, gallery = 0;

export function reset() {
  asking += 1;
  for (const name of FIELDS) fieldOf(name).value = "";
  $("answered").textContent = "";
}

function asked() {
  const chosen = FIELDS.map((name) => [name, fieldOf(name).value]).filter(([, value]) => value);
  const wanted = Object.fromEntries(chosen);
  if (wanted.window) wanted.window = Number(wanted.window);
  return wanted;
}

const decoded = (text) => createImageBitmap(new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], { type: "image/png" }), { colorSpaceConversion: "none", premultiplyAlpha: "none" });

async function answerOf(id, wanted) {
  const answer = await api.preview(id, wanted);
  const [heatmap, mask] = await Promise.all([decoded(answer.heatmap), decoded(answer.mask)]);
  return { ...answer, heatmap, mask };
}

// Calls `show` with the answer, or with null where the run's own settings are asked for.
export function listen({ current, show, say }) {
  const ask = async () => {
    const id = current(), wanted = asked(), mine = ++asking;
    if (!id) return;
    if (!Object.keys(wanted).length) {
      $("answered").textContent = "";
      show(null);
      return;
    }
    try {
      const answer = await answerOf(id, wanted);
      if (mine !== asking || id !== current()) return;
      show(answer);
      $("answered").textContent = `${t(answer.verdict)} ${answer.score.toFixed(3)} · ${answer.regions.length} ${t("regions")} · ${Math.round(1000 * answer.seconds)} ms`;
    } catch (error) {
      say(error.message);
    }
  };
  for (const name of FIELDS) fieldOf(name).onchange = ask;
  $("side-by-side").onclick = () => sideBySide(current(), ask, say);
  return ask;
}

async function sideBySide(id, ask, say) {
  if (!id) return;
  const mine = ++gallery;
  const [methods, stages] = ["method", "stages"].map((name) => [...fieldOf(name).options].slice(1));
  const wanted = [["", t("asRun"), {}], ...methods.map(({ value }) => ["method", value, { method: value }]),
    ...stages.map(({ value, text }) => ["stages", text, { stages: value }])];
  $("gallery-pictures").replaceChildren();
  $("gallery").showModal();
  const image = await api.bitmap(`/v1/inspections/${id}/image`);
  for (const [field, caption, overrides] of wanted) {
    if (!$("gallery").open || mine !== gallery) return;
    try {
      const answer = await answerOf(id, overrides);
      if (mine !== gallery) return;
      $("gallery-pictures").append(figureOf(image, answer, caption, () => {
        $("gallery").close();
        for (const name of ["method", "stages"]) fieldOf(name).value = name === field ? overrides[field] : "";
        ask();
      }));
    } catch (error) {
      say(`${caption}: ${error.message}`);
    }
  }
}

function figureOf(image, answer, caption, choose) {
  const canvas = document.createElement("canvas");
  const scale = Math.min(1, 260 / Math.max(image.width, image.height));
  canvas.width = Math.round(scale * image.width);
  canvas.height = Math.round(scale * image.height);
  canvas.setAttribute("aria-hidden", "true");
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const drawn = context.getImageData(0, 0, canvas.width, canvas.height);
  const [heat, mask] = [answer.heatmap, answer.mask].map((bitmap) => {
    const other = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
    other.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    return other.getImageData(0, 0, canvas.width, canvas.height).data;
  });
  for (let i = 0; i < drawn.data.length; i += 4) {
    const share = Math.max(0.6 * (heat[i] / 255), mask[i] > 127 ? 0.4 : 0);
    const colour = mask[i] > 127 ? [96, 236, 255] : [255, 120, 20];
    for (let c = 0; c < 3; c++) drawn.data[i + c] = (1 - share) * drawn.data[i + c] + share * colour[c];
  }
  context.putImageData(drawn, 0, 0);
  const button = Object.assign(document.createElement("button"), { type: "button", onclick: choose });
  button.append(canvas, Object.assign(document.createElement("span"), { textContent: caption }));
  return button;
}
