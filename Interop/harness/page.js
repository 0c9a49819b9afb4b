// Looks at rtc-peer's own page from inside: its connections, what its video elements show, what is to be heard.
// `window.rtcPage` is the page's hook for tests (Sources/Signaling/Page).
window.probe ??= (() => {
  const connections = () => rtcPage.connections();
  const receiver = (connection, kind) => connection.getReceivers().find(r => r.track?.kind === kind);

  // The page's own video element that shows that connection's track: what is tested is what a person sees.
  const shown = connection => {
    const track = receiver(connection, 'video')?.track;
    return [...document.querySelectorAll('video')].find(v => track && v.srcObject?.getVideoTracks().includes(track));
  };

  const counters = async connection => {
    const found = {at: performance.now()};
    for (const s of (await connection.getStats()).values()) {
      if (s.type === 'inbound-rtp' && s.kind === 'video') found.framesDecoded = s.framesDecoded ?? 0;
      if (s.type === 'outbound-rtp' && s.kind === 'video') found.framesSent = s.framesSent ?? s.framesEncoded ?? 0;
      if (s.type === 'inbound-rtp' && s.kind === 'audio') found.audioPackets = s.packetsReceived ?? 0;
    }
    return found;
  };

  const canvas = document.createElement('canvas'), context = canvas.getContext('2d', {willReadFrequently: true});
  const pattern = connection => {
    const video = shown(connection);
    if (!video?.videoWidth) return null;
    const width = canvas.width = video.videoWidth, height = canvas.height = video.videoHeight;
    context.drawImage(video, 0, 0);
    const pixel = (x, y) => [...context.getImageData(x * width | 0, y * height | 0, 1, 1).data].slice(0, 3);
    let counter = 0;
    for (let bit = 0; bit < 16; bit++) counter = counter << 1 | (pixel((2 * bit + 1) / 32, 7 / 8)[1] > 125);
    return {width, height, counter, bars: [0, 1, 2, 3].map(i => pixel((2 * i + 1) / 8, 3 / 8))};
  };

  let analyser, audio;
  const tone = async connection => {
    if (!analyser) {
      audio = new AudioContext();
      analyser = audio.createAnalyser();
      analyser.fftSize = 8192;
      analyser.smoothingTimeConstant = 0;
      audio.createMediaStreamSource(new MediaStream([receiver(connection, 'audio').track])).connect(analyser);
      await audio.resume();
      await new Promise(done => setTimeout(done, 500));
    }
    const levels = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(levels);
    let peak = 1;
    for (let i = 2; i < levels.length; i++) if (levels[i] > levels[peak]) peak = i;
    return {hertz: peak * audio.sampleRate / analyser.fftSize, decibels: levels[peak], state: audio.state};
  };

  // A file whose bytes follow from its seed: the same on both sides without sending it twice.
  const makeFile = (name, byteCount, seed) => {
    const words = new Uint32Array(byteCount / 4);
    for (let i = 0, x = seed; i < words.length; i++) {
      x ^= x << 13; x ^= x >>> 17; x ^= x << 5;
      words[i] = x;
    }
    return new File([words], name, {type: 'application/octet-stream'});
  };

  const sha256 = async blob => [...new Uint8Array(await crypto.subtle.digest('SHA-256', await blob.arrayBuffer()))]
    .map(byte => byte.toString(16).padStart(2, '0')).join('');

  return {connections, counters, pattern, tone, makeFile, sha256, shown};
})();
