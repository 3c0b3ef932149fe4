/* From the base value to the score, a bar a feature, the largest first: a table that is a picture. */
import { element } from "./dom.js";
import { shown, signed, sum } from "./numbers.js";

const ROWS = 10;

/* {name, value}: the largest contributions, and all others together. */
function steps(names, numbers, values) {
  const order = Array.from(values.keys()).sort((a, b) => Math.abs(values[b]) - Math.abs(values[a]));
  const cut = order.length > ROWS ? ROWS - 1 : order.length;
  const found = order.slice(0, cut).map((i) => ({
    name: names[i], number: Number.isNaN(numbers[i]) ? "missing" : String(numbers[i]), value: values[i],
  }));
  if (cut < order.length) {
    const rest = order.slice(cut).map((i) => values[i]);
    found.push({ name: `${rest.length} others`, number: "", value: sum(rest) });
  }
  return found;
}

function bar(from, to, place, kind) {
  const made = element("i", { class: kind });
  made.style.left = `${place(Math.min(from, to))}%`;
  made.style.width = `${Math.max(0.6, Math.abs(place(to) - place(from)))}%`;
  return made;
}

function row(head, number, text, ...bars) {
  return element("tr", {}, element("th", { scope: "row" }, head), element("td", {}, number),
    element("td", { class: "bars", "aria-hidden": "true" }, ...bars),
    element("td", {}, text));
}

export function waterfall({ names, numbers, values, base, score, label }) {
  const rows = steps(names, numbers, values);
  const ends = [base];
  rows.forEach(({ value }) => ends.push(ends.at(-1) + value));
  const [low, high] = [Math.min(...ends, score), Math.max(...ends, score)];
  const room = 0.06 * (high - low || 1);
  const place = (value) => (100 * (value - low + room)) / (high - low + 2 * room);
  const body = element("tbody", {}, row("Base value", "", shown(base), bar(base, base, place, "mark")));
  rows.forEach(({ name, number, value }, i) => {
    body.append(row(name, number, signed(value),
      bar(ends[i], ends[i + 1], place, value < 0 ? "against" : "for")));
  });
  body.append(row("Score", "", shown(score), bar(score, score, place, "mark")));
  return element("table", {},
    element("caption", {}, `From the mean of the references to the score of ${label}`),
    element("thead", {}, element("tr", {}, ...["Feature", "Value", "", "SHAP"].map((head, i) =>
      i === 2 ? element("td", { "aria-hidden": "true" }) : element("th", { scope: "col" }, head)))),
    body);
}
