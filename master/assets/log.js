// Live logs: rows come from the server as HTML made safe there, are added at
// the end, and the oldest go when there are too many. The line without an end
// is replaced until it has one.

const following = new Map();

function start() {
  for (const log of document.querySelectorAll('.log[data-follow]')) {
    if (!following.has(log)) follow(log, log.dataset.follow);
  }
  for (const [log, source] of following) {
    if (!log.isConnected) { source.close(); following.delete(log); }
  }
}

function follow(log, url) {
  if (document.hidden) return;
  const full = log.classList.contains('full');
  const rows = log.querySelector(':scope > .rows');
  const most = Number(log.dataset.rowsMax || 1000);
  const source = new EventSource(url);
  following.set(log, source);
  source.addEventListener('lines', (event) => {
    const piece = JSON.parse(event.data);
    const pinned = full && atPageEnd();
    rows.querySelector(':scope > [data-open]:last-child')?.remove();
    if (piece.skipped) rows.insertAdjacentHTML('beforeend', '<div class="l"><a></a><span class="gap">[lines left out here: too many at once; load the page again to see them]</span></div>');
    rows.insertAdjacentHTML('beforeend', piece.html + piece.partial);
    while (rows.childElementCount > most) rows.firstElementChild.remove();
    // Where to begin when the tab comes back.
    log.dataset.follow = url.replace(/([?&]offset=)\d+/, `$1${piece.next}`);
    if (full) facts(rows);
    // A log inside a page stays at its end by its style.
    if (pinned) window.scrollTo(0, document.documentElement.scrollHeight);
  });
  source.addEventListener('end', () => {
    source.close();
    following.delete(log);
    log.removeAttribute('data-follow');
  });
}

function facts(rows) {
  const number = rows.lastElementChild?.querySelector('a')?.dataset.n;
  for (const id of ['log-last', 'log-total']) {
    const e = document.getElementById(id);
    if (e && number) e.textContent = number;
  }
}

function atPageEnd() {
  const wish = document.getElementById('follow');
  if (wish && !wish.checked) return false;
  return window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 80;
}

// A line's number gives its address without loading the page again.
document.addEventListener('click', (event) => {
  const link = event.target.closest?.('.log.full .l > a[href]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  history.replaceState(null, '', link.getAttribute('href'));
  document.querySelector('.log .l.chosen')?.classList.remove('chosen');
  link.parentElement.classList.add('chosen');
});

document.addEventListener('visibilitychange', () => {
  if (document.hidden) {
    for (const source of following.values()) source.close();
    following.clear();
  } else {
    start();
  }
});
document.addEventListener('tidemill:updated', start);
start();
