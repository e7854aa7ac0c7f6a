"use strict";
(() => {
  const PER_PAGE = 60;
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = id => document.getElementById(id);
  const verdicts = ["defect", "unsure", "ok"].filter(name => data.counts[name]);
  const state = { verdicts: new Set(verdicts), kind: "", size: 0, name: "", order: "doubtful", page: 0 };
  const orders = {
    doubtful: ["doubtful first", (a, b) => b.unsure - a.unsure || a.doubt - b.doubt],
    highest: ["highest score first", (a, b) => b.score - a.score],
    lowest: ["lowest score first", (a, b) => a.score - b.score],
    largest: ["largest region first", (a, b) => b.size - a.size],
    name: ["name", (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true })],
  };
  const images = data.images.map(row => {
    const image = Object.fromEntries(data.columns.map((column, index) => [column, row[index]]));
    image.doubt = Math.abs(image.score - data.threshold);
    image.unsure = image.verdict === "unsure" ? 1 : 0;
    return image;
  });
  let found = [];
  let viewed = 0;

  const element = (tag, text, className) => {
    const made = document.createElement(tag);
    if (text) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const breakable = name => {  // behind folders and underscores, before it is broken anywhere
    const made = element("span", "", "file");
    name.split(/(?<=[\/_])/).forEach((part, index) => made.append(...index ? [element("wbr"), part] : [part]));
    return made;
  };
  const address = (folder, image, suffix) =>
    [folder, ...image.output.split("/")].map(encodeURIComponent).join("/") + suffix;
  const words = { defect: "DEFECT", unsure: "UNSURE", ok: "OK" };
  const tones = { defect: "bad", unsure: "warn", ok: "good" };
  const size = image => `${Number(image.size.toPrecision(3)).toLocaleString("en")}\u00a0${data.unit}`;
  const nothing = image => image.verdict === "ok" ? "nothing marked" : "by its score; no place stands out enough to be marked";
  const note = image => image.regions === 0 ? nothing(image)
    : `${image.kinds.join(", ")}: ${image.regions} region${image.regions === 1 ? "" : "s"}, largest ${size(image)}`
      + (image.trust === "poor" ? "; outline hardly explains the verdict" : "");

  function select() {
    const name = state.name.toLowerCase();
    found = images.filter(image => state.verdicts.has(image.verdict) && image.size >= state.size
      && (!state.kind || image.kinds.includes(state.kind)) && image.name.toLowerCase().includes(name));
    found.sort((a, b) => orders[state.order][1](a, b) || (a.name < b.name ? -1 : 1));
    state.page = 0;
    show();
  }

  function show() {
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    state.page = Math.min(Math.max(state.page, 0), pages - 1);
    const first = state.page * PER_PAGE;
    at("cards").replaceChildren(...found.slice(first, first + PER_PAGE).map((image, index) => card(image, first + index)));
    at("shown").textContent = found.length === images.length ? `all ${images.length} images.`
      : `${found.length} of ${images.length} images.`;
    at("where").textContent = `${state.page + 1} of ${pages}`;
    at("before").disabled = state.page === 0;
    at("after").disabled = state.page === pages - 1;
    at("pager").hidden = pages === 1;
  }

  function card(image, index) {
    const figure = element("button", "", "figure");
    figure.type = "button";
    const frame = element("div", "", "frame");
    const picture = element("img");
    picture.loading = "lazy";
    picture.alt = "";
    picture.src = address("thumbnails", image, ".jpg");
    frame.append(picture);
    const caption = element("figcaption");
    const line = element("span", "", "line");
    line.append(element("span", words[image.verdict], `badge ${tones[image.verdict]}`), element("span", `score ${image.score.toFixed(2)}`));
    caption.append(line, breakable(image.name), element("span", note(image), "muted"));
    figure.append(frame, caption);
    figure.addEventListener("click", () => view(index));
    return figure;
  }

  function view(index) {
    if (index < 0 || index >= found.length) return;
    viewed = index;
    const image = found[index];
    const whole = data.saved.includes("overlays") ? ["overlays", ".jpg"] : ["thumbnails", ".jpg"];
    at("viewer-picture").src = address(whole[0], image, whole[1]);
    at("viewer-picture").alt = `${image.name}: ${words[image.verdict]}, ${note(image)}`;
    at("previous").setAttribute("aria-disabled", String(index === 0));
    at("following").setAttribute("aria-disabled", String(index === found.length - 1));
    at("viewer-name").textContent = image.name;
    at("viewer-note").textContent = `${words[image.verdict]}, score ${image.score.toFixed(3)}; ${note(image)}`;
    const links = [["overlays", "overlay", ".jpg"], ["masks", "mask", ".png"], ["heatmaps", "heatmap", ".jpg"]]
      .filter(([kind]) => data.saved.includes(kind))
      .map(([kind, text, suffix]) => {
        const link = element("a", text);
        link.href = address(kind, image, suffix);
        link.target = "_blank";
        link.rel = "noreferrer";
        return link;
      });
    at("viewer-links").replaceChildren(...links);
    if (!at("viewer").open) at("viewer").showModal();
  }

  for (const name of verdicts) {
    const chip = element("button", `${words[name]} ${data.counts[name]}`, name);
    chip.type = "button";
    chip.setAttribute("aria-pressed", "true");
    chip.addEventListener("click", () => {
      const on = state.verdicts.has(name);
      state.verdicts[on ? "delete" : "add"](name);
      chip.setAttribute("aria-pressed", String(!on));
      select();
    });
    at("verdicts").append(chip);
  }
  const option = (list, value, text) => {
    const made = element("option", text);
    made.value = value;
    at(list).append(made);
  };
  option("kind", "", "all");
  data.kinds.forEach(kind => option("kind", kind, kind));
  Object.entries(orders).forEach(([value, [text]]) => option("order", value, text));
  const asked = new URLSearchParams(location.hash.slice(1)).get("order");
  if (Object.hasOwn(orders, asked)) state.order = asked;
  at("order").value = state.order;
  at("unit").textContent = data.unit;
  at("kind").addEventListener("change", event => { state.kind = event.target.value; select(); });
  at("order").addEventListener("change", event => { state.order = event.target.value; select(); });
  at("size").addEventListener("input", event => { state.size = Number(event.target.value) || 0; select(); });
  at("name").addEventListener("input", event => { state.name = event.target.value; select(); });
  const turn = pages => { state.page += pages; show(); at("gallery").scrollIntoView(); };
  at("before").addEventListener("click", () => turn(-1));
  at("after").addEventListener("click", () => turn(1));
  at("previous").addEventListener("click", () => view(viewed - 1));
  at("following").addEventListener("click", () => view(viewed + 1));
  at("close").addEventListener("click", () => at("viewer").close());
  at("viewer").addEventListener("keydown", event => {
    if (event.key === "ArrowLeft") view(viewed - 1);
    if (event.key === "ArrowRight") view(viewed + 1);
  });
  at("gallery").hidden = images.length === 0;
  select();
})();
