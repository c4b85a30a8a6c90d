// Keeps a page up to date: hears the event stream for what the page shows, and
// when something happened fetches the page again and takes over the parts
// marked data-live, node by node, so that focus, scroll position, open details
// and what was typed stay. Without this script the page reads the same.

const REFRESH_MIN = 700;
// Progress makes no event of its own: a page with a running step looks again by itself.
const LOOK = 30000;
const LOOK_AT_PROGRESS = 5000;
const main = document.getElementById('main');
const state = document.getElementById('link-state');
document.documentElement.classList.add('scripted');

let source = null;
let due = null;
let last = 0;
let busy = false;
let again = false;
let lost = false;
const touched = new Set();

function connect() {
  if (source || !main.dataset.events || document.hidden) return;
  source = new EventSource('/api/v2/events?' + main.dataset.events);
  source.onmessage = soon;
  source.addEventListener('reset', soon);
  source.onopen = () => {
    say('');
    if (lost) soon();
    lost = false;
  };
  source.onerror = () => {
    lost = true;
    say('Connection lost; trying again …');
    // A refusal ends the source for good: begin anew later.
    if (source && source.readyState === EventSource.CLOSED) {
      disconnect();
      setTimeout(connect, 5000);
    }
  };
}

function disconnect() {
  if (source) source.close();
  source = null;
}

function say(text) {
  if (state && state.textContent !== text) state.textContent = text;
}

// Many events make one refresh, and no more than one at a time.
function soon() {
  if (due !== null) return;
  const wait = Math.max(120, REFRESH_MIN - (performance.now() - last));
  due = setTimeout(() => { due = null; refresh(); }, wait);
}

async function refresh() {
  if (busy) { again = true; return; }
  busy = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: 'text/html' }, cache: 'no-store', redirect: 'manual' });
    if (answer.type === 'opaqueredirect') { location.reload(); return; }
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
    for (const part of fresh.querySelectorAll('[data-live][id]')) {
      const old = document.getElementById(part.id);
      if (old) morph(old, part);
    }
    document.title = fresh.title;
    const events = fresh.getElementById('main')?.dataset.events;
    if (!events) {
      delete main.dataset.events;
      disconnect();
    } else if (events !== main.dataset.events) {
      // It shows something more now; what happens until the new stream is open is looked at then.
      main.dataset.events = events;
      lost = true;
      disconnect();
      connect();
    }
    document.dispatchEvent(new CustomEvent('tidemill:updated'));
    tick();
  } catch {
    // The stream says when the master is back.
  } finally {
    last = performance.now();
    busy = false;
    if (again) { again = false; soon(); }
  }
}

// Makes `old` like `fresh` with as few changes as possible.
function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
    old.replaceWith(document.importNode(fresh, true));
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  if (old.hasAttribute('data-keep')) return;
  attributes(old, fresh);
  children(old, fresh);
}

function attributes(old, fresh) {
  // Once the reader opened or closed details, that is theirs to say.
  const keep = (name) => (name === 'open' && touched.has(old.id)) || (name === 'value' && old.nodeName === 'INPUT' && old.type !== 'hidden');
  for (const { name, value } of fresh.attributes) {
    if (!keep(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (!keep(name) && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
}

function children(old, fresh) {
  const named = new Map([...old.children].filter((c) => c.id).map((c) => [c.id, c]));
  let at = old.firstChild;
  for (const want of [...fresh.childNodes]) {
    const same = want.id ? named.get(want.id) : null;
    if (same) {
      if (same === at) at = at.nextSibling;
      else old.insertBefore(same, at);
      morph(same, want);
    } else if (at && !want.id && !at.id && at.nodeName === want.nodeName) {
      const next = at.nextSibling;
      morph(at, want);
      at = next;
    } else {
      old.insertBefore(document.importNode(want, true), at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

document.addEventListener('click', (event) => {
  const details = event.target.closest?.('summary')?.parentElement;
  if (details?.id) touched.add(details.id);
});

// Times that pass.
function tick() {
  const now = Date.now() / 1000;
  for (const e of document.querySelectorAll('[data-since]')) e.textContent = took(Math.max(0, now - Number(e.dataset.since)));
  for (const e of document.querySelectorAll('[data-until]')) e.textContent = left(Number(e.dataset.until) - now);
  const wait = document.querySelector('[data-progress]') ? LOOK_AT_PROGRESS : LOOK;
  if (source && performance.now() - last > wait && document.querySelector('.step.running')) soon();
  let passed = false;
  for (const e of document.querySelectorAll('time[data-due]')) {
    const seconds = Math.round(Date.parse(e.dateTime) / 1000 - now);
    e.textContent = due_in(seconds);
    passed ||= seconds < 0;
  }
  // What was to come has come, and need not have made an event.
  if (source && passed && performance.now() - last > LOOK_AT_PROGRESS) soon();
  for (const e of document.querySelectorAll('time[data-ago]')) {
    const seconds = Math.floor(now - Date.parse(e.dateTime) / 1000);
    if (seconds < 2592000) e.textContent = ago(seconds);
  }
}

function took(s) {
  s = Math.floor(s);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

function left(s) {
  if (s < 0) return 'overdue';
  if (s < 45) return 'less than a minute left';
  s += 30;
  if (s < 3600) return `about ${Math.floor(s / 60)} min left`;
  return `about ${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min left`;
}

function due_in(s) {
  if (s < 1) return 'now';
  if (s < 120) return `in ${s} s`;
  if (s < 7200) return `in ${Math.floor(s / 60)} min`;
  return `in ${Math.floor(s / 3600)} h`;
}

function ago(s) {
  if (s < 5) return 'just now';
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ago`;
  return `${Math.floor(s / 86400)} d ago`;
}

setInterval(tick, 1000);

// A tab that nobody sees holds no connection: browsers allow few to one host.
document.addEventListener('visibilitychange', () => {
  if (document.hidden) {
    disconnect();
  } else {
    connect();
    if (main.dataset.events) soon();
    tick();
  }
});
connect();
