import {Signaling} from './signaling.js';
import {Peer} from './peer.js';
import {Graphs} from './graphs.js';
import {PROTOCOL, receiveFile, sendFile} from './files.js';

const $ = id => document.getElementById(id);
const query = new URLSearchParams(location.search);
const room = query.get('room') || decodeURIComponent(location.pathname.slice(1)) || 'lobby';
const name = (query.get('name') || 'Guest').slice(0, 64);
const peers = new Map(), files = [], chats = [];
const graphs = new Graphs($('graph-list'));
let stream = null, signaling = null, iceServers = [], isOver = false, lastError = null;

// What tests look at.
window.rtcPage = {connections: () => [...peers.values()].map(p => p.connection), peers, files, chats, lastError: () => lastError};

$('room').textContent = room;
document.title = `Call – ${room}`;

// --- words -------------------------------------------------------------------
const WORDS = {new: 'is being called', connecting: 'is being connected', connected: 'is connected',
  disconnected: 'does not answer; waiting', failed: 'cannot be reached; trying again', closed: 'is gone'};

function show() {
  const others = [...peers.values()];
  $('waiting').hidden = others.length > 0 || isOver;
  if (isOver) return;
  const good = others.length > 0 && others.every(p => p.state === 'connected');
  $('state').toggleAttribute('data-good', good);
  $('state').textContent = others.length ? others.map(p => `${p.name} ${WORDS[p.state]}`).join(', ') : 'Waiting for others';
}

function notice(text) {
  $('notice').textContent = text ?? '';
  $('notice').hidden = !text;
  if (text) lastError = text;
}

function log(who, text, kind) {
  const line = document.createElement('li');
  if (kind) line.className = kind;
  if (who) {
    const speaker = document.createElement('b');
    speaker.textContent = who;
    line.append(speaker);
  }
  line.append(text);
  $('chat-log').append(line);
  while ($('chat-log').children.length > 500) $('chat-log').firstChild.remove();
  $('chat-log').scrollTop = $('chat-log').scrollHeight;
}

// --- camera and microphone ---------------------------------------------------
async function openDevices() {
  if (query.get('video') === '0' && query.get('audio') === '0') return;
  if (!navigator.mediaDevices?.getUserMedia) {
    notice('Browsers give camera and microphone to secure pages only: open this page by https (rtc-peer call --tls) or as localhost. You can see, hear and write.');
    return;
  }
  const number = (key, standard) => Number(query.get(key)) || standard;
  const wanted = {
    audio: query.get('audio') !== '0',
    video: query.get('video') !== '0' && {width: number('width', 640), height: number('height', 360), frameRate: number('fps', 30)},
  };
  for (const constraints of [wanted, {audio: wanted.audio, video: false}, {audio: false, video: wanted.video}]) {
    if (!constraints.audio && !constraints.video) continue;
    try {
      stream = await navigator.mediaDevices.getUserMedia(constraints);
      break;
    } catch (error) {
      lastError = error.message;
      if (error.name === 'NotAllowedError') {
        notice('Camera and microphone were not allowed: you can see, hear and write. Allow them in the address bar and reload to be seen.');
        break;
      }
      notice(`No ${constraints.video ? 'camera' : 'microphone'} could be opened (${error.message}).`);
    }
  }
  if (stream?.getVideoTracks().length) {
    $('self').srcObject = stream;
    $('self').hidden = false;
  }
  $('mute').disabled = !stream?.getAudioTracks().length;
  $('camera').disabled = !stream?.getVideoTracks().length;
}

// --- the others ----------------------------------------------------------------
function addPeer(description, initiates) {
  removePeer(description.id);
  const peer = new Peer(signaling, description, {initiates, stream, iceServers});
  peers.set(peer.id, peer);
  const figure = document.createElement('figure'), caption = document.createElement('figcaption');
  const video = document.createElement('video');
  video.autoplay = video.playsInline = true;
  video.srcObject = peer.stream;
  video.setAttribute('aria-label', `Picture of ${peer.name}`);
  caption.textContent = peer.name;
  figure.append(video, caption);
  $('remotes').append(figure);
  peer.figure = figure;
  peer.addEventListener('gone', () => peers.get(peer.id) === peer && leftBy(peer.id, 'gone'));
  peer.addEventListener('trouble', () => signaling.check());
  peer.addEventListener('change', () => {
    video.play().catch(() => { notice('Click anywhere to hear the others.'); addEventListener('click', () => { video.play(); notice(); }, {once: true}); });
    show();
  });
  peer.addEventListener('chat', ({detail}) => {
    chats.push({from: peer.id, text: detail});
    log(peer.name, detail);
  });
  peer.addEventListener('problem', ({detail}) => { lastError = detail; console.warn(peer.name, detail); });
  peer.addEventListener('channel', ({detail: channel}) => channel.protocol === PROTOCOL ? takeFile(peer, channel) : channel.close());
  show();
}

function removePeer(id) {
  const peer = peers.get(id);
  if (!peer) return null;
  peers.delete(id);
  peer.close();
  peer.figure.remove();
  return peer;
}

function leftBy(id, reason) {
  // What the server has lost is not lost: the connection ends by itself.
  if (reason === 'lost' && peers.get(id)?.becomeAbsent()) return;
  const peer = removePeer(id);
  if (!peer) return;
  log('', `${peer.name} ${reason === 'bye' ? 'hung up' : 'is gone'}`, 'note');
  show();
  if (!peers.size && reason === 'bye') $('state').textContent = 'The other side hung up';
  if (!peers.size && reason === 'bye') $('again').hidden = false;
}

// Credentials of relays expire: connections that are there use the new ones when they look for another way.
function useServers(servers) {
  iceServers = servers;
  for (const peer of peers.values()) peer.useServers(servers);
}

function start() {
  isOver = false;
  $('again').hidden = true;
  for (const id of ['mute', 'camera', 'hang-up']) $(id).hidden = false;
  signaling = new Signaling(room, name);
  signaling.addEventListener('joined', ({detail}) => {
    notice($('notice').dataset.sticky);
    useServers(detail.iceServers ?? []);
    if (detail.resumed) return show();
    for (const id of [...peers.keys()]) if (!detail.peers.some(peer => peer.id === id)) leftBy(id, 'lost');
    // The newcomer calls everybody who is there, unless their connection has outlived the server.
    for (const peer of detail.peers) if (!peers.get(peer.id)?.resume()) addPeer(peer, true);
    show();
  });
  signaling.addEventListener('servers', ({detail}) => useServers(detail));
  signaling.addEventListener('peer', ({detail}) => {
    $('again').hidden = true;
    if (!peers.get(detail.id)?.resume()) addPeer(detail, false);
  });
  signaling.addEventListener('left', ({detail}) => leftBy(detail.id, detail.reason));
  signaling.addEventListener('message', ({detail: {from, message}}) => {
    if (message.type === 'bye') return leftBy(from, 'bye');
    const peer = peers.get(from);
    if (peer && message.type === 'offer' && peer.isForeign(message.sdp)) addPeer(peer, false);
    peers.get(from)?.receive(message);
  });
  signaling.addEventListener('words', ({detail}) => { $('state').textContent = detail; lastError = detail; });
  signaling.addEventListener('ended', ({detail}) => end(detail));
  signaling.open();
}

function end(words) {
  if (isOver) return;
  isOver = true;
  signaling.leave();
  for (const peer of peers.values()) peer.close();
  for (const peer of peers.values()) peer.figure.remove();
  $('state').textContent = words;
  $('state').removeAttribute('data-good');
  $('waiting').hidden = true;
  for (const id of ['mute', 'camera', 'hang-up']) $(id).hidden = true;
  $('again').hidden = false;
  $('again').focus();
}

// --- controls --------------------------------------------------------------------
function toggle(button, kind) {
  const isOff = button.getAttribute('aria-pressed') !== 'true';
  button.setAttribute('aria-pressed', isOff);
  for (const track of stream?.getTracks() ?? []) if (track.kind === kind) track.enabled = !isOff;
}
$('mute').onclick = event => toggle(event.currentTarget, 'audio');
$('camera').onclick = event => toggle(event.currentTarget, 'video');
$('hang-up').onclick = () => end('You hung up');
$('again').onclick = () => { signaling.leave(); for (const id of [...peers.keys()]) removePeer(id); start(); };

$('chat-form').onsubmit = event => {
  event.preventDefault();
  const text = $('chat-input').value.trim();
  if (!text) return;
  const heard = [...peers.values()].filter(peer => peer.say(text)).length;
  log('You', text);
  if (!heard) log('', 'Nobody is here to read that.', 'note');
  $('chat-input').value = '';
};

// --- files -----------------------------------------------------------------------
function fileLine(text) {
  const line = document.createElement('li'), words = document.createElement('span'), bar = document.createElement('progress');
  words.textContent = text;
  bar.max = 1;
  bar.value = 0;
  bar.setAttribute('aria-label', text);
  line.append(words, bar);
  $('files').append(line);
  return {line, words, bar, finish(text) { bar.remove(); words.textContent = text; }};
}

async function offerFile(file) {
  const connected = [...peers.values()].filter(peer => peer.state === 'connected');
  if (!connected.length) return log('', `Nobody is here to take ${file.name}.`, 'note');
  await Promise.all(connected.map(async peer => {
    const line = fileLine(`Sending ${file.name} to ${peer.name}`);
    try {
      await sendFile(peer.connection, file, share => { line.bar.value = share; });
      line.finish(`${file.name} was sent to ${peer.name}`);
    } catch (error) {
      line.finish(`${file.name} was not sent to ${peer.name}: ${error.message}`);
      lastError = error.message;
    }
  }));
}

async function takeFile(peer, channel) {
  const line = fileLine(`Receiving a file from ${peer.name}`);
  try {
    const file = await receiveFile(channel, (name, share) => {
      line.words.textContent = `Receiving ${name} from ${peer.name}`;
      line.bar.value = share;
    });
    line.finish(`${peer.name} sent `);
    const link = document.createElement('a');
    link.href = URL.createObjectURL(file.blob);
    link.download = link.textContent = file.name;
    line.words.append(link);
    files.push({name: file.name, size: file.blob.size, sha256: file.sha256, from: peer.id});
  } catch (error) {
    line.finish(`A file of ${peer.name} did not arrive: ${error.message}`);
    lastError = error.message;
  }
}

$('file-input').onchange = event => {
  for (const file of event.target.files) offerFile(file);
  event.target.value = '';
};
addEventListener('dragover', event => { event.preventDefault(); $('drop').hidden = false; });
addEventListener('dragleave', event => { if (!event.relatedTarget) $('drop').hidden = true; });
addEventListener('drop', event => {
  event.preventDefault();
  $('drop').hidden = true;
  for (const file of event.dataTransfer.files) offerFile(file);
});

addEventListener('pagehide', () => signaling?.remember());
setInterval(() => { if (!isOver) graphs.update(window.rtcPage.connections().filter(c => c.connectionState === 'connected')).catch(() => {}); }, 1000);

await openDevices();
$('notice').dataset.sticky = $('notice').hidden ? '' : $('notice').textContent;
start();
