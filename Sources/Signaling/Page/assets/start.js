// One address, two pages: that of a code (/4821#amber-otter-lemon, docs/CODES.md) moves files, any other one calls.
const room = /^\/([0-9]{4,9})$/.exec(location.pathname)?.[1];
const words = () => /^#([a-z]+-[a-z]+-[a-z]+)$/i.exec(location.hash)?.[1].toLowerCase();
const first = words();

if (room && first) {
  // Another code of the same room is another meeting.
  addEventListener('hashchange', () => words() !== first && location.reload());
  // A browser that only guesses that somebody will look must not use up the code.
  if (document.prerendering) await new Promise(done => document.addEventListener('prerenderingchange', done, {once: true}));
  document.body.className = 'transfer';
  const [page, ...parts] = ['transfer', 'receive', 'send'].map(id => document.getElementById(id));
  document.body.replaceChildren(page.content, ...parts);
  const {meet} = await import('./code.js');
  await meet(room, first);
} else {
  await import('./main.js');
}
