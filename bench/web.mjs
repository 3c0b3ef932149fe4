/* web.mjs URL CHROMIUM TAB: answers a line "THREADS" on standard input with the milliseconds that one
 * explanation took in a page on that many threads. Run in a folder with playwright-core; serves web.py. */
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { chromium } = createRequire(`${process.cwd()}/`)("playwright-core");
const [url, executablePath, tab] = process.argv.slice(2);
const AGAIN = { digit: "#digit .digits button", picture: "#picture .samples button" };
const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
});
const pages = new Map();

async function open(threads) {
  const page = await browser.newPage();
  await page.addInitScript(() => {
    addEventListener("onnxexplainer:result", ({ detail }) => window.told?.(detail.time));
  });
  await page.goto(`${url}?threads=${threads}#${tab}`);
  await page.locator(`#${tab} .headline strong`).waitFor({ timeout: 60_000 });
  pages.set(threads, page);
  return page;
}

for await (const threads of createInterface({ input: process.stdin })) {
  const page = pages.get(threads) ?? await open(threads);
  await page.bringToFront();
  console.log(await page.evaluate((selector) => new Promise((resolve) => {
    window.told = resolve;
    document.querySelector(selector).click();
  }), AGAIN[tab]));
}
await browser.close();
