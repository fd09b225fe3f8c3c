// Keeps one version of the site, whole, so that it works offline. `mnistnet site` writes two lines
// before this: the VERSION, a folder's name, and the FILES in it. Such a folder never changes.

const OWN = `${registration.scope} `; // other sites may have the same origin
const CACHE = OWN + VERSION;

addEventListener("install", (event) => event.waitUntil(install()));
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  const path = url.startsWith(registration.scope) ? url.slice(registration.scope.length) : null;
  const [name] = path?.split(/[?#]/) ?? [];
  if (method !== "GET") return;
  if (name === "" || name === "index.html") event.respondWith(open(event.request));
  else if (name?.includes("/")) event.respondWith(find(event.request));
});

async function install() {
  const cache = await caches.open(CACHE);
  await cache.addAll(FILES.map((name) => `${VERSION}/${name}`)); // all or none
  await skipWaiting(); // pages that are open go on with the folder that they began with
}

async function open(request) {
  const windows = await clients.matchAll({ type: "window" });
  if (windows.length < 2) await forget(); // at most the page that is reloaded
  return (await caches.match(`${VERSION}/index.html`)) ?? fetch(request);
}

async function find(request) {
  return (await caches.match(request, { ignoreSearch: true })) ?? fetch(request);
}

async function forget() {
  const names = await caches.keys();
  const old = names.filter((name) => name.startsWith(OWN) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
}
