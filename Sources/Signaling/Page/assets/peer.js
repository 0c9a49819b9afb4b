import {LABEL, PROTOCOL, Roads} from './roads.js';

// One other participant: a connection by perfect negotiation (webrtc-pc §10.7), its picture, chat and files.
// Events: change, chat, channel; trouble when it does not answer; gone when it has ended and the server had lost it.
export class Peer extends EventTarget {
  #roads; #initiates; #queue = Promise.resolve(); #makingOffer = false; #ignoringOffer = false; #settingAnswer = false; #restartTimer; #isAbsent = false; #wasConnected = false;

  constructor(signaling, {id, name, polite}, {initiates, stream, iceServers}) {
    super();
    Object.assign(this, {id, name, polite});
    this.#initiates = initiates;
    // One thing after the other, whichever road it came along.
    this.#roads = new Roads(message => signaling.send(message, id), message => { this.#queue = this.#queue.then(() => this.#take(message)); });
    const connection = this.connection = new RTCPeerConnection({iceServers, bundlePolicy: 'max-bundle'});
    this.stream = new MediaStream();
    // The newcomer makes the first offer; the tracks of the one called go into the answer.
    connection.onnegotiationneeded = () => (initiates || connection.remoteDescription) && this.#offer();
    connection.onicecandidate = ({candidate}) => this.#send({type: 'candidate', candidate: candidate?.toJSON() ?? null});
    connection.ontrack = ({track}) => {
      for (const old of this.stream.getTracks()) if (old.kind === track.kind) this.stream.removeTrack(old);
      this.stream.addTrack(track);
      this.#tell('change');
    };
    connection.onconnectionstatechange = () => {
      clearTimeout(this.#restartTimer);
      if (connection.connectionState === 'connected') this.#wasConnected = true;
      if (['failed', 'disconnected'].includes(connection.connectionState)) this.#tell('trouble');
      if (this.#isAbsent && ['failed', 'closed'].includes(connection.connectionState)) return this.#tell('gone');
      if (connection.connectionState === 'failed') connection.restartIce();
      if (connection.connectionState === 'disconnected') {
        this.#restartTimer = setTimeout(() => connection.connectionState === 'disconnected' && connection.restartIce(), 3000);
      }
      this.#tell('change');
    };
    connection.ondatachannel = ({channel}) => {
      if (channel.protocol === PROTOCOL) this.#roads.attach(channel);
      else if (channel.label === 'chat') this.#setChat(channel);
      else this.#tell('channel', channel);
    };
    if (initiates) this.#setChat(connection.createDataChannel('chat'));
    for (const kind of ['audio', 'video']) {
      const track = stream?.getTracks().find(t => t.kind === kind);
      if (track) connection.addTrack(track, stream);
      else if (initiates) connection.addTransceiver(kind, {direction: 'recvonly'});
    }
  }

  get state() { return this.connection.connectionState; }

  useServers(iceServers) {
    if (this.state !== 'closed') this.connection.setConfiguration({...this.connection.getConfiguration(), iceServers});
  }

  say(text) {
    if (this.chat?.readyState !== 'open') return false;
    this.chat.send(text);
    return true;
  }

  /** The server has lost the peer. Whether the connection goes on without it. */
  becomeAbsent() { return this.#isAbsent = this.#wasConnected && !['failed', 'closed'].includes(this.state); }

  /** One of the two is in the room again: says again what may have been lost. False if this is of no use any more. */
  resume() {
    if (['failed', 'closed'].includes(this.state)) return false;
    this.#isAbsent = false;
    const isRepeated = this.#roads.isOrdered && this.#roads.hasUnacknowledged;
    if (isRepeated) this.#roads.serverForgot();
    if (this.connection.signalingState === 'have-local-offer') {
      if (!isRepeated) this.#send({type: 'offer', sdp: this.connection.localDescription.sdp});
    } else if (this.state !== 'connected') this.connection.restartIce();
    return true;
  }

  /** Whether an offer is for another connection: the peer has begun anew. RFC 8866 §5.2 */
  isForeign(sdp) {
    const session = text => /^o=(\S+ \S+)/m.exec(text)?.[1], known = this.connection.remoteDescription;
    return Boolean(known) && session(known.sdp) !== session(sdp);
  }

  /** Takes what came through the server. */
  receive(message) {
    this.#roads.receive(message);
    // The side that made the first offer opens the channel, once it knows that the other one numbers its messages.
    if (this.#initiates && this.#roads.isOrdered && !this.#roads.hasChannel && this.state !== 'closed') {
      this.#roads.attach(this.connection.createDataChannel(LABEL, {protocol: PROTOCOL, priority: 'high'}));
    }
  }

  async #take(message) {
    const connection = this.connection;
    if (connection.signalingState === 'closed') return;
    try {
      if (message.type === 'candidate') {
        try {
          await connection.addIceCandidate(message.candidate ?? undefined);
        } catch (error) {
          if (!this.#ignoringOffer) throw error;
        }
        return;
      }
      const isReady = !this.#makingOffer && (connection.signalingState === 'stable' || this.#settingAnswer);
      this.#ignoringOffer = message.type === 'offer' && !isReady && !this.polite;
      if (this.#ignoringOffer) return;
      this.#settingAnswer = message.type === 'answer';
      await connection.setRemoteDescription({type: message.type, sdp: message.sdp});
      this.#settingAnswer = false;
      if (message.type !== 'offer') return;
      await connection.setLocalDescription();
      this.#send({type: 'answer', sdp: connection.localDescription.sdp});
    } catch (error) {
      this.#settingAnswer = false;
      if (connection.signalingState !== 'closed') this.#tell('problem', `${message.type}: ${error.message}`);
    }
  }

  close() {
    clearTimeout(this.#restartTimer);
    this.connection.close();
    this.#tell('change');
  }

  async #offer() {
    const connection = this.connection;
    try {
      this.#makingOffer = true;
      await connection.setLocalDescription();
      this.#send({type: connection.localDescription.type, sdp: connection.localDescription.sdp});
    } catch (error) {
      if (connection.signalingState !== 'closed') this.#tell('problem', error.message);
    } finally {
      this.#makingOffer = false;
    }
  }

  #setChat(channel) {
    this.chat = channel;
    channel.onopen = () => this.#tell('change');
    channel.onmessage = ({data}) => typeof data === 'string' && this.#tell('chat', data);
  }

  #send(message) { this.#roads.send(message); }
  #tell(name, detail) { this.dispatchEvent(new CustomEvent(name, {detail})); }
}
