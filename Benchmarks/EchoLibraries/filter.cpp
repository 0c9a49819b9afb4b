// filter LIBRARY far.raw microphone.raw out.raw DELAY: a recording as one of two libraries cleans it, and what that
// costs. For the comparison in docs/SOUND.md; nothing of PeerConnection is built from this. See ../echo-libraries.
//
// LIBRARY is webrtc (moderate suppression, filter of 128 ms, delays searched), -low or -high (of suppression), -classic
// (the filter of 48 ms, no search), mobile (its lighter canceller), speex or speex-alone (without suppression of what is
// left). DELAY is what a sound card would tell, in ms.

#include <speex/speex_echo.h>
#include <speex/speex_preprocess.h>
#include <webrtc/modules/audio_processing/include/audio_processing.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

static const int rate = 48000, block = 480;

static std::vector<int16_t> read(const char *path) {
    std::vector<int16_t> samples;
    FILE *file = fopen(path, "rb");
    if (!file) { perror(path); exit(1); }
    int16_t piece[4096];
    for (size_t count; (count = fread(piece, 2, 4096, file)) > 0;) samples.insert(samples.end(), piece, piece + count);
    fclose(file);
    return samples;
}

static double cpu() {
    timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

struct Filter {
    virtual ~Filter() {}
    virtual void process(const int16_t *far, const int16_t *near, int16_t *out) = 0;
};

struct WebRTC : Filter {
    webrtc::AudioProcessing *library;
    int delay;
    WebRTC(const std::string &name, int delay) : delay(delay) {
        using namespace webrtc;
        Config config;
        bool classic = name == "webrtc-classic";
        config.Set<ExtendedFilter>(new ExtendedFilter(!classic));
        config.Set<DelayAgnostic>(new DelayAgnostic(!classic));
        config.Set<ExperimentalAgc>(new ExperimentalAgc(false));
        library = AudioProcessing::Create(config);
        library->high_pass_filter()->Enable(true);
        if (name == "mobile") {
            library->echo_control_mobile()->set_routing_mode(EchoControlMobile::kSpeakerphone);
            library->echo_control_mobile()->Enable(true);
            return;
        }
        library->echo_cancellation()->set_suppression_level(
            name == "webrtc-high" ? EchoCancellation::kHighSuppression
            : name == "webrtc-low" ? EchoCancellation::kLowSuppression : EchoCancellation::kModerateSuppression);
        library->echo_cancellation()->Enable(true);
    }
    void process(const int16_t *far, const int16_t *near, int16_t *out) override {
        float one[block], other[block];
        float *farChannels[] = {one}, *nearChannels[] = {other};
        for (int i = 0; i < block; i++) one[i] = far[i] / 32768.0f, other[i] = near[i] / 32768.0f;
        webrtc::StreamConfig stream(rate, 1);
        library->ProcessReverseStream(farChannels, stream, stream, farChannels);
        library->set_stream_delay_ms(delay);
        int status = library->ProcessStream(nearChannels, stream, stream, nearChannels);
        if (status) fprintf(stderr, "status %d\n", status), exit(1);
        for (int i = 0; i < block; i++) out[i] = (int16_t)std::lrint(std::fmax(-32768, std::fmin(32767, other[i] * 32768)));
    }
};

struct Speex : Filter {
    SpeexEchoState *echo;
    SpeexPreprocessState *after = nullptr;
    std::vector<std::vector<int16_t>> waiting;
    size_t held;
    Speex(const std::string &name, int delay) {
        int sampleRate = rate, on = 1, kept = 0;
        // It searches no delay: what is told is held back here, but for 20 ms, and its filter covers 120 ms.
        held = delay > 20 ? (delay - 20) / 10 : 0;
        echo = speex_echo_state_init(block, rate / 1000 * 120);
        speex_echo_ctl(echo, SPEEX_ECHO_SET_SAMPLING_RATE, &sampleRate);
        if (name.find("alone") != std::string::npos) return;
        after = speex_preprocess_state_init(block, rate);
        // What is left of the echo is suppressed by what suppresses noise, which leaves the noise itself here.
        speex_preprocess_ctl(after, SPEEX_PREPROCESS_SET_DENOISE, &on);
        speex_preprocess_ctl(after, SPEEX_PREPROCESS_SET_NOISE_SUPPRESS, &kept);
        speex_preprocess_ctl(after, SPEEX_PREPROCESS_SET_ECHO_STATE, echo);
    }
    void process(const int16_t *far, const int16_t *near, int16_t *out) override {
        waiting.emplace_back(far, far + block);
        std::vector<int16_t> played(block, 0);
        if (waiting.size() > held) played = waiting.front(), waiting.erase(waiting.begin());
        speex_echo_cancellation(echo, near, played.data(), out);
        if (after) speex_preprocess_run(after, out);
    }
};

int main(int count, char **arguments) {
    if (count < 5) return fprintf(stderr, "usage: filter LIBRARY far.raw microphone.raw out.raw [DELAY]\n"), 2;
    std::string name = arguments[1];
    std::vector<int16_t> far = read(arguments[2]), near = read(arguments[3]), out(near.size());
    int delay = count > 5 ? atoi(arguments[5]) : 0;
    Filter *filter = name.rfind("speex", 0) == 0 ? (Filter *)new Speex(name, delay) : new WebRTC(name, delay);
    double start = cpu();
    size_t blocks = near.size() / block;
    for (size_t i = 0; i < blocks; i++) filter->process(&far[i * block], &near[i * block], &out[i * block]);
    printf("%s, delay told %d ms: %.0f µs of CPU for 10 ms\n", arguments[1], delay, (cpu() - start) / blocks * 1e6);
    FILE *file = fopen(arguments[4], "wb");
    if (!file || fwrite(out.data(), 2, out.size(), file) != out.size() || fclose(file)) return perror(arguments[4]), 1;
}
