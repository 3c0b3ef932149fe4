/* web_page.mjs URL FOLDER: uses the page at URL as a person would, in Debian's Chromium, as
 * FOLDER/plan.json says, and writes what it saw to FOLDER/seen.json, with screenshots. Run in a folder
 * that has playwright-core and axe-core. Serves test_web.py. */
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.cwd()}/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const [url, folder] = process.argv.slice(2);
const plan = JSON.parse(readFileSync(`${folder}/plan.json`));
const seen = { requests: [], messages: [], results: {}, violations: [] };
const LIMIT = 120_000; // milliseconds

const browser = await chromium.launch({
  executablePath: plan.chromium,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update"],
});

async function open(size, scheme) {
  const context = await browser.newContext({ viewport: size, colorScheme: scheme });
  context.setDefaultTimeout(LIMIT);
  context.on("request", (request) => seen.requests.push(request.url()));
  const page = await context.newPage();
  page.on("websocket", (socket) => seen.requests.push(socket.url()));
  page.on("pageerror", (error) => seen.messages.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") {
      seen.messages.push(message.text());
    }
  });
  await page.addInitScript(() => {
    window.results = [];
    const plain = (tensors) => Object.fromEntries(Object.entries(tensors).map(([name, tensor]) =>
      [name, { ...tensor, data: Array.from(tensor.data, Number) }]));
    addEventListener("onnxexplainer:result", ({ detail }) =>
      window.results.push({ ...detail, feeds: plain(detail.feeds), outputs: plain(detail.outputs) }));
  });
  return page;
}

/* Does something, and keeps under `name` the result that it led to: the last, once all is quiet. */
async function result(page, name, act) {
  const before = await page.evaluate(() => window.results.length);
  await act();
  const panel = page.locator("[role=tabpanel]:not([hidden])");
  await page.waitForFunction((count) => window.results.length > count, before).catch(async (error) => {
    throw new Error(`${name}: ${error.message}\n${await panel.innerText()}\n${seen.messages.join("\n")}`);
  });
  for (let count = -1; count !== (count = await page.evaluate(() => window.results.length));) {
    await page.waitForTimeout(300); // the page waits for a break in typing
    await page.waitForFunction(() => !document.querySelector("[aria-busy]"));
  }
  const last = await page.evaluate(() => window.results.at(-1));
  seen.results[name] = {
    ...last,
    headline: await panel.locator(".headline").innerText(),
    text: await panel.locator(".result").innerText(),
  };
}

const tab = (page, name) => page.locator(`[role=tab][data-name=${name}]`).click();

async function look(page, name, kind) {
  await page.evaluate(() => document.activeElement.blur());
  await page.screenshot({ path: `${folder}/${name}-${kind}.png`, fullPage: true });
  const { violations } = await page.evaluate(`${axe}; axe.run()`);
  seen.violations.push(...violations.map(({ id, nodes }) => `${name} ${kind}: ${id}: ${nodes[0].html}`));
}

/* ---- digit ------------------------------------------------------------------------------- */

async function drawSeven(page) {
  const box = await page.locator(".pad").boundingBox();
  const at = (x, y) => [box.x + x * box.width, box.y + y * box.height];
  await page.mouse.move(...at(0.3, 0.25));
  await page.mouse.down();
  await page.mouse.move(...at(0.7, 0.25), { steps: 8 });
  await page.mouse.move(...at(0.45, 0.8), { steps: 8 });
  await page.mouse.up();
}

async function drawOneByKeys(page) {
  await page.getByRole("button", { name: "Clear" }).click();
  await page.locator(".pad").focus();
  for (const key of [...Array(8).fill("ArrowUp"), " ", ...Array(16).fill("ArrowDown")]) {
    await page.keyboard.press(key);
  }
}

async function digit(page) {
  await result(page, "digit", () => drawSeven(page));
  const heat = page.locator("#digit .heat canvas");
  const before = await heat.getAttribute("aria-label");
  await page.locator("#digit .class[data-index='1']").press("Enter");
  seen.heat = [before, await heat.getAttribute("aria-label")];
  await page.locator("#digit .class[data-index='7']").click();
  await result(page, "digit of a picture", () => page.locator("#digit input[type=file]").setInputFiles(plan.digit));
  await result(page, "digit to show", () => drawSeven(page));
}

/* ---- the others -------------------------------------------------------------------------- */

async function picture(page) {
  await result(page, "picture", () => page.locator("#picture input[type=file]").setInputFiles(plan.picture));
  await result(page, "picture to show", () => page.locator("#picture .samples button").first().click());
}

async function text(page) {
  for (const [i, sentence] of plan.texts.entries()) {
    await result(page, `text ${i}`, () => page.locator("#text textarea").fill(sentence));
  }
  await result(page, "text to show", () => page.locator("#text select").selectOption("0"));
}

async function table(page) {
  await result(page, "table", () => page.getByLabel("proline").last().fill("900"));
  await result(page, "table by slider", () => page.locator("#table input[type=range]").first().press("ArrowRight"));
}

async function own(page) {
  const give = (files) => page.locator("#own .zone input[type=file]").setInputFiles(files);
  seen.refused = [];
  for (const file of plan.refused) {
    await give(file);
    const alert = page.locator("#own .alert");
    await alert.filter({ hasText: /\S/, hasNotText: seen.refused.at(-1) ?? "nothing yet" }).waitFor();
    seen.refused.push(await alert.innerText());
  }
  for (const [name, files] of Object.entries(plan.own)) {
    await result(page, name, () => give(files));
  }
  if (plan.explained) {
    const [model, references, sample] = plan.explained;
    await give([model, references]);
    const offer = page.locator("#own button.explain");
    seen.offer = await offer.innerText();
    await offer.click();
    await page.locator("#own .work:not([hidden])").waitFor();
    await result(page, "own explained here", () => give([sample]));
  }
}

const tabs = { digit, picture, text, table, own };

async function firstResult(page, name) {
  await tab(page, name);
  if (name !== "own") {
    await page.locator(`#${name} .headline strong`).waitFor();
  }
}

/* ---- desktop, in light colours and in dark ones ------------------------------------------ */

const desktop = await open({ width: 1200, height: 900 }, "light");
await desktop.goto(url);
for (const name of [...plan.demos, "own"]) {
  await firstResult(desktop, name);
  await tabs[name](desktop);
  await look(desktop, name, "desktop");
}
await desktop.locator("#theme").click();
for (const name of [...plan.demos, "own"]) {
  await tab(desktop, name);
  await look(desktop, name, "dark");
}
await tab(desktop, "digit");
await result(desktop, "digit by keys", () => drawOneByKeys(desktop));
await result(desktop, "digit on one thread", () => desktop.getByLabel("Threads").selectOption("1"));
seen.leaves = await desktop.evaluate(() => fetch("http://127.0.0.1:9/").then(() => "left", () => "kept"));
seen.messages = seen.messages.filter((message) => !message.includes("127.0.0.1:9")); // that one is wanted
seen.requests = seen.requests.filter((request) => request !== "http://127.0.0.1:9/");

/* ---- what docs/web.md shows --------------------------------------------------------------- */

const logged = desktop.waitForEvent("console", (message) => message.type() === "log");
await desktop.evaluate(plan.listener);
await result(desktop, "digit listened to", () => drawSeven(desktop));
seen.logged = await (await logged).args()[1].jsonValue();
seen.times = await desktop.evaluate(() => window.results.map(({ time }) => time));

const example = await browser.newPage({ serviceWorkers: "block" });
await example.route(`${url}example.html`, (route) => 
  route.fulfill({ contentType: "text/html", body: plan.example }));
await example.goto(`${url}example.html`);
await example.locator("#said").filter({ hasText: /\S/ }).waitFor();
seen.said = await example.locator("#said").innerText();
await example.close();

/* ---- tabs by keyboard -------------------------------------------------------------------- */

await desktop.locator("[role=tab][aria-selected=true]").focus();
await desktop.keyboard.press("End");
seen.end = await desktop.locator(":focus").innerText();
await desktop.keyboard.press("ArrowRight");
seen.around = await desktop.locator(":focus").innerText();

/* ---- without the server ------------------------------------------------------------------ */

await desktop.waitForFunction(async (count) => {
  const names = await caches.keys();
  const kept = await Promise.all(names.map(async (name) => (await (await caches.open(name)).keys()).map((r) => r.url)));
  return kept.flat().filter((address) => address.endsWith(".onnx")).length >= count;
}, plan.demos.length);
await desktop.context().setOffline(true);
await desktop.goto(`${url}#digit`);
await desktop.reload();
await desktop.locator("#digit .headline strong").waitFor();
await result(desktop, "digit offline", () => drawSeven(desktop));
if (plan.demos.includes("picture")) {
  await firstResult(desktop, "picture");
  await desktop.locator("#picture .samples button").nth(1).click();
}
seen.offline = await desktop.evaluate(() => ({ isolated: crossOriginIsolated, online: navigator.onLine }));
await desktop.context().close();

/* ---- a phone, in dark colours ------------------------------------------------------------ */

const phone = await open({ width: 390, height: 844 }, "dark");
await phone.goto(url);
seen.widths = {};
for (const name of [...plan.demos, "own"]) {
  await firstResult(phone, name);
  if (name === "digit") {
    await drawSeven(phone);
    await phone.waitForTimeout(500);
  }
  await look(phone, name, "phone");
  seen.widths[name] = await phone.evaluate(() => document.documentElement.scrollWidth);
}

await browser.close();
writeFileSync(`${folder}/seen.json`, JSON.stringify(seen));
