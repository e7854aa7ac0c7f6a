// Parts of the page that every view needs: elements by id, new elements, and the line that says what happened.
export const $ = (id) => document.getElementById(id);

export function make(name, fields = {}, ...children) {
  const element = Object.assign(document.createElement(name), fields);
  element.append(...children);
  return element;
}

export function say(text) {
  $("status").textContent = text;
  $("status").classList.add("shown");
  clearTimeout(say.timer);
  say.timer = setTimeout(() => $("status").classList.remove("shown"), 3500);
}
