// Why the run in use inspects as it does: its settings, and the report that its training wrote.
import * as api from "./api.js";
import { t } from "./texts.js";

export async function drawEvidence(page) {
  const model = await api.model();
  const title = Object.assign(document.createElement("h1"), { textContent: t("evidenceOf") });
  const card = Object.assign(document.createElement("div"), { className: "card" });
  const table = document.createElement("table");
  for (const [name, value] of rowsOf(model.settings)) {
    const row = table.insertRow();
    row.insertCell().textContent = name;
    row.insertCell().textContent = value;
  }
  const facts = Object.assign(document.createElement("p"), { className: "said", textContent: `${t("model")} ${model.name} · SHA-256 ${model.sha256}` });
  card.append(facts, table);
  page.replaceChildren(title, card);
}

function rowsOf(settings, before = "") {
  return Object.entries(settings).flatMap(([name, value]) => {
    const path = before ? `${before} · ${name}` : name;
    const nested = value !== null && typeof value === "object" && !Array.isArray(value);
    return nested ? rowsOf(value, path) : [[path, Array.isArray(value) ? value.join(", ") : String(value)]];
  });
}
