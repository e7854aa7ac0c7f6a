// The REST interface, as functions. An answer that is no success becomes an Error with the service's own words.
async function asked(url, options = {}) {
  const answer = await fetch(url, { credentials: "same-origin", ...options });
  if (answer.ok) return answer;
  let detail = `${answer.status}`;
  try {
    const problem = await answer.json();
    detail = typeof problem.detail === "string" ? problem.detail : JSON.stringify(problem.detail);
  } catch { /* no JSON: the number says enough */ }
  throw new Error(detail);
}

const json = async (url, options) => (await asked(url, options)).json();
const sent = (method, body) => ({ method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const inspections = (query) => json(`/v1/inspections?${new URLSearchParams(query)}`);
export const inspection = (id) => json(`/v1/inspections/${id}`);
export const inspect = (file) =>
  json(`/v1/inspections?${new URLSearchParams({ name: file.name.slice(0, 255) })}`, { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file });
export const review = (id, body) => json(`/v1/inspections/${id}/reviews`, sent("POST", body));
export const paint = (id, blob) => json(`/v1/inspections/${id}/painted`, { method: "PUT", headers: { "Content-Type": "image/png" }, body: blob });
export const preview = (id, overrides) => json(`/v1/inspections/${id}/preview`, sent("POST", overrides));
export const bitmap = async (url) => createImageBitmap(await (await asked(url)).blob(), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
export const model = () => json("/v1/model");
export const rollBack = () => json("/v1/model/rollback", { method: "POST" });
export const promote = (name) => json("/v1/model/promote", sent("POST", { run: name }));
export const datasets = () => json("/v1/datasets");
export const check = (name) => json(`/v1/datasets/${encodeURIComponent(name)}/check`);
export const trainings = () => json("/v1/trainings");
export const epochs = (id) => json(`/v1/trainings/${id}/epochs`);
export const startTraining = (dataset) => json("/v1/trainings", sent("POST", { dataset }));
export const cancelTraining = (id) => json(`/v1/trainings/${id}/cancel`, { method: "POST" });
export const resumeTraining = (id) => json(`/v1/trainings/${id}/resume`, { method: "POST" });
export const compareRun = (name) => json(`/v1/runs/${encodeURIComponent(name)}/compare`, { method: "POST" });
export const exportAddress = (query) => `/v1/export?${new URLSearchParams(query)}`;
