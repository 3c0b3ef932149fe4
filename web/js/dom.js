/* Elements, made and found. */

/* element("p", {class: "note", onclick: f}, "text", child): attributes that are functions are
 * listeners, false and null are left out. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      made.addEventListener(name.slice(2), value);
    } else if (value !== false && value !== null && value !== undefined) {
      made.setAttribute(name, value === true ? "" : value);
    }
  }
  made.append(...children);
  return made;
}

let count = 0;

/* A name that no other element has. */
export const unique = (prefix) => `${prefix}-${++count}`;

/* A control with its label before it. */
export function labelled(text, control, attributes = {}) {
  control.id ||= unique("control");
  return element("div", { class: "labelled", ...attributes },
    element("label", { for: control.id }, text), control);
}

export function choice(options, chosen, onchange) {
  const select = element("select", { onchange: () => onchange(select.value) });
  for (const [value, text] of options) {
    select.append(element("option", { value, selected: value === chosen }, text));
  }
  return select;
}

/* A zone that takes files: dropped, or chosen with a button. */
export function dropZone({ text, button, accept, multiple = false, onfiles }) {
  const file = element("input", {
    type: "file", accept, multiple, class: "visually-hidden", tabindex: "-1", "aria-label": button,
    onchange: () => {
      onfiles([...file.files]);
      file.value = "";
    },
  });
  const zone = element("div", { class: "drop" }, element("p", {}, text),
    element("button", { type: "button", class: "quiet", onclick: () => file.click() }, button), file);
  takeDrops(zone, onfiles);
  return zone;
}

export function takeDrops(zone, onfiles) {
  const mark = (over) => zone.classList.toggle("over", over);
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    mark(true);
  });
  zone.addEventListener("dragleave", () => mark(false));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    mark(false);
    if (event.dataTransfer.files.length) {
      onfiles([...event.dataTransfer.files]);
    }
  });
}
