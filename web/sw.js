/* The page without its server: files are kept when they are first read, small ones at once. Answers
 * get the headers that isolate the page, which threads need and many hosts cannot send.
 * The build puts the files and a name that changes with them in place of the two constants. */
const VERSION = "onnxexplainer-VERSION";
const FILES = [];

const ISOLATED = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(caches.open(VERSION).then((cache) => cache.addAll(FILES)));
});

self.addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    const old = (await caches.keys()).filter((name) =>
      name.startsWith("onnxexplainer-") && name !== VERSION);
    await Promise.all(old.map((name) => caches.delete(name)));
    await self.clients.claim();
  })());
});

function isolated(answer) {
  const headers = new Headers(answer.headers);
  for (const [name, value] of Object.entries(ISOLATED)) {
    headers.set(name, value);
  }
  return new Response(answer.body, { status: answer.status, statusText: answer.statusText, headers });
}

async function answer(request) {
  const cache = await caches.open(VERSION);
  const kept = await cache.match(request, { ignoreSearch: true });
  if (kept) {
    return isolated(kept);
  }
  const fresh = await fetch(request);
  if (fresh.status === 200) {
    await cache.put(request, fresh.clone()).catch(() => {}); // no room: it is read again next time
  }
  return isolated(fresh);
}

self.addEventListener("fetch", (event) => {
  if (event.request.method === "GET" && new URL(event.request.url).origin === location.origin) {
    event.respondWith(answer(event.request));
  }
});
