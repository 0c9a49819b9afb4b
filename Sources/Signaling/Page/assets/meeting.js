// The second's part of docs/CODES.md: finds the first in the room, proves the code to it, and connects; whenever the
// connection is lost it connects again. Events: words, paired, ended.
import {Signaling} from './signaling.js';
import {SPAKE2, concatenate, equal, hkdf, utf8} from './spake2.js';

const LABEL = 'transfer', PROTOCOL = 'rtc-peer-transfer-1', PATIENCE = 30000, GRACE = 5000;

const hex = bytes => [...bytes].map(byte => byte.toString(16).padStart(2, '0')).join('');

/** The bytes that hexadecimal digits stand for; null for anything else. */
function unhex(text) {
  if (typeof text !== 'string' || text.length % 2 || !/^[0-9a-f]*$/i.test(text)) return null;
  return Uint8Array.from({length: text.length / 2}, (_, i) => parseInt(text.slice(2 * i, 2 * i + 2), 16));
}

/** SHA-256 of a certificate, of `AB:CD:…`; null for anything else. */
function fingerprintBytes(value) {
  const bytes = unhex(value.replaceAll(':', ''));
  return bytes?.length === 32 ? bytes : null;
}

const fingerprintsIn = sdp => [...sdp.matchAll(/^a=fingerprint:(\S+) (\S+)/gim)];

/** Whether every fingerprint of a description, and there is one at least, is this one. */
function hasOnly(expected, sdp) {
  const all = fingerprintsIn(sdp);
  return all.length > 0 && all.every(([, algorithm, value]) => {
    const bytes = algorithm.toLowerCase() === 'sha-256' ? fingerprintBytes(value) : null;
    return bytes !== null && equal(bytes, expected);
  });
}

async function fingerprintOf(certificate) {
  let value = certificate.getFingerprints?.().find(f => f.algorithm.toLowerCase() === 'sha-256')?.value;
  if (!value) {
    // Firefox tells it in descriptions only.
    const connection = new RTCPeerConnection({certificates: [certificate]});
    connection.createDataChannel('');
    const {sdp} = await connection.createOffer();
    connection.close();
    value = fingerprintsIn(sdp).find(([, algorithm]) => algorithm.toLowerCase() === 'sha-256')?.[2];
  }
  const bytes = value && fingerprintBytes(value);
  if (!bytes) throw new Error('this browser does not tell the SHA-256 of its certificate');
  return bytes;
}

export class Meeting extends EventTarget {
  #room; #words; #use; #signaling; #certificate; #fingerprint; #iceServers = []; #others = [];
  #codeIsFresh = true; #resumption = null; #exchange = null; #partner = null; #link = null; #failures = 0;
  #work = Promise.resolve(); #retry; #isOver = false; #partnerHasEnded = false;

  /** `use` is given each open channel; its promise says when it has done with it. */
  constructor(room, words, use) {
    super();
    this.#room = room;
    this.#words = words;
    this.#use = use;
    this.#resumption = unhex(sessionStorage.getItem(this.#key));
  }

  get #key() { return `transfer ${this.#room}-${this.#words}`; }

  /** Whether this goes on with an earlier pairing. */
  get resumes() { return this.#resumption !== null; }

  async start() {
    this.#certificate = await RTCPeerConnection.generateCertificate({name: 'ECDSA', namedCurve: 'P-256'});
    this.#fingerprint = await fingerprintOf(this.#certificate);
    const signaling = this.#signaling = new Signaling(this.#room, 'second');
    signaling.addEventListener('joined', ({detail}) => this.#joined(detail));
    signaling.addEventListener('peer', ({detail}) => { this.#others.push(detail.id); this.#approachNext(); });
    signaling.addEventListener('left', ({detail}) => this.#left(detail.id));
    signaling.addEventListener('message', ({detail: {from, message}}) => {
      if (message.type === 'pake') this.#pair(String(message.text), from);
      // One after the other: candidates need the answer before them.
      else this.#work = this.#work.then(() => this.#take(message, from)).catch(() => {});
    });
    signaling.addEventListener('words', ({detail}) => this.#tell('words', detail));
    signaling.addEventListener('ended', ({detail}) => this.#end(detail));
    addEventListener('pagehide', () => signaling.remember());
    signaling.open();
  }

  /** All is done; the secret is of no more use. */
  finish() {
    sessionStorage.removeItem(this.#key);
    this.#leave();
  }

  #leave() {
    this.#isOver = true;
    clearTimeout(this.#retry);
    this.#close();
    this.#signaling?.leave();
  }

  #end(words) {
    if (this.#isOver) return;
    this.#leave();
    this.#tell('ended', words);
  }

  #endWithPartner() {
    sessionStorage.removeItem(this.#key);
    this.#end('The other machine has ended the transfer. Ask for a new code.');
  }

  #tell(name, detail) { this.dispatchEvent(new CustomEvent(name, {detail})); }

  // --- the room ------------------------------------------------------------------
  #joined({resumed, iceServers, peers}) {
    this.#iceServers = iceServers ?? [];
    if (resumed) return;
    this.#partner = this.#exchange = null;
    this.#others = peers.map(peer => peer.id);
    if (!peers.length) this.#tell('words', 'Waiting for the other machine …');
    this.#approachNext();
  }

  #left(id) {
    this.#others = this.#others.filter(other => other !== id);
    if (this.#exchange?.id === id) {
      this.#exchange = null;
      if (!this.resumes) return this.#end('The other machine has gone, and the code was used: ask for a new one.');
    }
    if (this.#partner?.id === id) {
      this.#partner = null;
      // The connection between the two may well go on.
      if (!this.#link) this.#tell('words', 'The other machine is gone; waiting for it to come back …');
    }
    this.#approachNext();
  }

  // --- pairing -------------------------------------------------------------------
  #approachNext() {
    clearTimeout(this.#retry);
    const id = this.#others[0];
    if (this.#isOver || this.#partner || this.#exchange || id === undefined) return;
    const resumes = this.resumes;
    if (!resumes && !this.#codeIsFresh) return this.#end('The other machine has gone, and the code was used: ask for a new one.');
    if (!resumes) this.#codeIsFresh = false;
    const secret = resumes ? concatenate(utf8('resume '), this.#resumption) : utf8('code ' + this.#words);
    const exchange = new SPAKE2({isA: true, names: ['receiver', 'sender'], password: SPAKE2.password(secret),
      secret: crypto.getRandomValues(new Uint8Array(48))});
    this.#exchange = {id, exchange};
    this.#say(id, `hello 1 ${resumes ? 'resume' : 'code'} ${hex(exchange.share)} ${hex(this.#fingerprint)}`);
  }

  #say(id, text) { this.#signaling.send({type: 'pake', text}, id); }

  #pair(text, id) {
    if (this.#isOver || this.#exchange?.id !== id || text.length > 1024) return;
    const {exchange} = this.#exchange;
    this.#exchange = null;
    if (text.startsWith('refused')) return this.#refused(text.slice(8, 208));
    const fields = text.split(' '), [share, fingerprint, confirmation] = fields.slice(1).map(unhex);
    const isForm = fields.length === 4 && fields[0] === 'share' && share && fingerprint?.length === 32 && confirmation;
    const keys = isForm ? exchange.finish(share, concatenate(this.#fingerprint, fingerprint)) : null;
    if (!keys || !equal(keys.expected, confirmation)) {
      this.#say(id, 'refused the code is wrong');
      return this.#end(this.resumes ? 'This is not the machine that this page was connected with before. Ask for a new code.'
        : 'The code is wrong. Codes are for one try: ask for the new one, and open its address.');
    }
    this.#say(id, 'confirm ' + hex(keys.confirmation));
    this.#partner = {id, fingerprint};
    this.#partnerHasEnded = false;
    this.#resumption = hkdf(keys.key, utf8('PeerConnection resumption'), 32);
    sessionStorage.setItem(this.#key, hex(this.#resumption));
    this.#tell('paired');
    // Pairing anew after the signalling broke leaves a connection that works; a machine that was started anew has
    // another certificate.
    const link = this.#link;
    if (!link || link.connection.connectionState !== 'connected' || !equal(link.fingerprint, fingerprint)) this.#connect();
  }

  #refused(words) {
    if (/try again/.test(words)) {
      this.#retry = setTimeout(() => this.#approachNext(), 1000);
    } else if (/trying the code just now/.test(words)) {
      this.#end('Somebody else is trying this code just now. Unless that is one of you, it becomes void: ask for a new one.');
    } else if (/code was used/.test(words)) {
      this.#end('This code was used already: each is for one machine. Ask for a new one.');
    } else if (this.resumes) {
      this.#end('The other machine has no transfer to go on with. Ask for a new code.');
    } else {
      this.#end(`The other machine refuses: ${words}.`);
    }
  }

  // --- connecting ------------------------------------------------------------------
  async #connect() {
    this.#close();
    const {id, fingerprint} = this.#partner;
    const connection = new RTCPeerConnection({iceServers: this.#iceServers, certificates: [this.#certificate]});
    const channel = connection.createDataChannel(LABEL, {protocol: PROTOCOL});
    channel.binaryType = 'arraybuffer';
    const link = this.#link = {connection, channel, fingerprint, using: null};
    const lose = () => this.#lost(link);
    link.timer = setTimeout(lose, PATIENCE);
    channel.onopen = () => {
      if (this.#link !== link) return;
      clearTimeout(link.timer);
      this.#failures = 0;
      // What else is said of it is in the connection.
      channel.maxMessageSize = connection.sctp?.maxMessageSize;
      link.using = this.#use(channel);
    };
    channel.addEventListener('close', lose);
    connection.onconnectionstatechange = () => {
      if (connection.connectionState === 'failed') return lose();
      if (channel.readyState === 'connecting') return;
      clearTimeout(link.timer);
      if (connection.connectionState === 'disconnected') link.timer = setTimeout(lose, GRACE);
    };
    connection.onicecandidate = ({candidate}) =>
      this.#signaling.send({type: 'candidate', candidate: candidate?.toJSON() ?? null}, id);
    try {
      await connection.setLocalDescription();
      this.#signaling.send({type: 'offer', sdp: connection.localDescription.sdp}, id);
    } catch (error) {
      if (this.#link === link) this.#end(`This browser cannot connect: ${error.message}`);
    }
  }

  async #take(message, from) {
    const link = this.#link;
    if (this.#partner?.id !== from) return;
    if (message.type === 'bye') {
      this.#partnerHasEnded = true;
      // What has come over a connection that was up is used to its end.
      return link?.using ? undefined : this.#endWithPartner();
    }
    if (!link) return;
    if (message.type === 'candidate') return link.connection.addIceCandidate(message.candidate ?? undefined);
    if (message.type !== 'answer' || link.connection.signalingState !== 'have-local-offer') return;
    if (!hasOnly(this.#partner.fingerprint, message.sdp)) {
      return this.#end('The answer has another certificate than the other machine’s: somebody is between the two of you.');
    }
    await link.connection.setRemoteDescription({type: 'answer', sdp: message.sdp});
  }

  async #lost(link) {
    if (this.#link !== link || this.#isOver) return;
    this.#close();
    // What has come is taken in before more is asked for.
    await link.using;
    if (this.#isOver) return;
    if (this.#partnerHasEnded) return this.#endWithPartner();
    if (!this.#partner) return this.#tell('words', 'The other machine is gone; waiting for it to come back …');
    this.#tell('words', 'The connection broke; making it again …');
    // At once, then ever slower: 0, 0.5, 1, 2, 4, 8, 8 … seconds.
    if (++this.#failures > 1) {
      await new Promise(done => setTimeout(done, Math.min(8000, 250 * 2 ** Math.min(this.#failures - 1, 5))));
    }
    if (!this.#link && this.#partner && !this.#isOver) this.#connect();
  }

  #close() {
    const link = this.#link;
    this.#link = null;
    if (!link) return;
    clearTimeout(link.timer);
    link.connection.onconnectionstatechange = null;
    // What the channel held is used to its end; it hears of its own.
    link.connection.close();
    link.channel.dispatchEvent(new Event('close'));
  }
}
