/// What kind of frames a track holds.
package enum ContainerCodec: Hashable, Sendable {
    case vp8(width: Int, height: Int)
    case vp9(width: Int, height: Int)
    case opus(channelCount: Int)

    package var isVideo: Bool {
        switch self {
        case .vp8, .vp9: true
        case .opus: false
        }
    }
}

/// A change of a file that is being written.
package enum FileChange: Hashable, Sendable {
    case append([UInt8])
    /// Bytes that were written before, and never more than were.
    case replace(at: Int, [UInt8])
}

/// Makes a WebM file of encoded frames. RFC 9559, and the WebM container guidelines
///
/// Whatever byte it is cut at, the file plays up to there: segment and current cluster are of unknown size, as in a
/// live stream, and a track stands in the head before its first frame does. ``finish()`` adds index, sizes and
/// duration. Frames come in the order of their times.
package struct WebMMuxer {
    /// What a caller got wrong, or a file cannot hold.
    package enum Failure: Error, Hashable, Sendable {
        case tooManyTracks
        case unknownTrack
        case tooLarge
    }

    private struct Track {
        var codec: ContainerCodec
        var lastTime: Int64 = -1
    }

    private struct Cue {
        var time: Int64
        var track: Int
        var position: Int
    }

    private var tracks: [Track] = []
    private var changes: [FileChange] = []
    /// Bytes appended so far.
    package private(set) var byteCount = 0
    private var isFinished = false
    private let segmentStart: Int
    private let seekHeadAt: Int
    private let infoAt: Int
    private let durationAt: Int
    private let tracksAt: Int
    private let slotsAt: Int
    /// Where the content of the current cluster begins, and its time in milliseconds.
    private var cluster: (contentAt: Int, milliseconds: Int64, byteCount: Int)?
    private var cues: [Cue] = []
    /// Seconds between two cues; doubled when there are too many.
    private var cueInterval: Int64 = 0
    private var endMilliseconds: Int64 = 0

    /// Most tracks of one file: a slot is kept free in its head for each.
    package static let trackLimit = 4
    private static let slotByteCount = 128
    private static let seekHeadByteCount = 96
    /// A cluster is closed after so long or so much: what a reader must take in at once to seek.
    private static let clusterMilliseconds: Int64 = 5_000
    private static let clusterByteLimit = 5 << 20
    /// Blocks say their time in 16 bits, relative to their cluster.
    private static let blockTimeLimit: Int64 = 32_000
    package static let frameByteLimit = 16 << 20
    private static let cueLimit = 20_000

    /// Begins a file.
    ///
    /// - Parameters:
    ///   - title: what players show; cut to 200 bytes.
    ///   - application: what wrote it.
    package init(title: String = "", application: String) {
        var writer = EBMLWriter()
        writer.write(EBMLID.ebml) { head in
            head.write(0x4286, 1 as UInt64)  // EBMLVersion
            head.write(0x42F7, 1 as UInt64)  // EBMLReadVersion
            head.write(0x42F2, 4 as UInt64)  // EBMLMaxIDLength
            head.write(0x42F3, 8 as UInt64)  // EBMLMaxSizeLength
            head.write(EBMLID.docType, "webm")
            head.write(0x4287, 4 as UInt64)  // DocTypeVersion: CodecDelay and SeekPreRoll are of 4
            head.write(0x4285, 2 as UInt64)  // DocTypeReadVersion: SimpleBlock is of 2
        }
        writer.write(id: EBMLID.segment)
        writer.write(EBMLWriter.unknownSize)
        segmentStart = writer.bytes.count
        seekHeadAt = writer.bytes.count
        writer.write(voidOf: Self.seekHeadByteCount)
        infoAt = writer.bytes.count
        var info = EBMLWriter()
        info.write(EBMLID.timestampScale, 1_000_000 as UInt64)
        info.write(EBMLID.muxingApp, application)
        info.write(EBMLID.writingApp, application)
        let short = Self.cut(title)
        if !short.isEmpty { info.write(EBMLID.title, short) }
        let durationOffset = info.bytes.count
        info.write(voidOf: 11)  // a Duration takes 2 + 1 + 8
        writer.write(EBMLID.info, info.bytes)
        durationAt = writer.bytes.count - info.bytes.count + durationOffset
        tracksAt = writer.bytes.count
        var slots = EBMLWriter()
        for _ in 0..<Self.trackLimit { slots.write(voidOf: Self.slotByteCount) }
        writer.write(EBMLID.tracks, slots.bytes)
        slotsAt = writer.bytes.count - slots.bytes.count
        append(writer.bytes)
    }

    /// Adds a track; frames may have been written to others already.
    ///
    /// - Returns: its number.
    package mutating func addTrack(_ codec: ContainerCodec) throws(Failure) -> Int {
        guard tracks.count < Self.trackLimit else { throw .tooManyTracks }
        tracks.append(Track(codec: codec))
        let number = tracks.count
        var entry = EBMLWriter()
        entry.write(EBMLID.trackEntry) { entry in
            entry.write(EBMLID.trackNumber, UInt64(number))
            entry.write(EBMLID.trackUID, UInt64(number))
            entry.write(EBMLID.flagLacing, 0 as UInt64)
            entry.write(EBMLID.language, "und")
            switch codec {
            case .vp8(let width, let height), .vp9(let width, let height):
                if case .vp8 = codec {
                    entry.write(EBMLID.codecID, "V_VP8")
                } else {
                    entry.write(EBMLID.codecID, "V_VP9")
                }
                entry.write(EBMLID.trackType, 1 as UInt64)
                entry.write(EBMLID.video) { video in
                    video.write(EBMLID.pixelWidth, UInt64(clamping: max(1, width)))
                    video.write(EBMLID.pixelHeight, UInt64(clamping: max(1, height)))
                }
            case .opus(let channelCount):
                entry.write(EBMLID.codecID, "A_OPUS")
                entry.write(EBMLID.trackType, 2 as UInt64)
                entry.write(EBMLID.codecPrivate, OpusHead(channelCount: channelCount).bytes)
                entry.write(EBMLID.codecDelay, 0 as UInt64)
                // "SHOULD be 80 ms": what a decoder needs to hear before a seek's target. RFC 7845 §4.6
                entry.write(EBMLID.seekPreRoll, 80_000_000 as UInt64)
                entry.write(EBMLID.audio) { audio in
                    audio.write(EBMLID.samplingFrequency, 48_000.0)
                    audio.write(EBMLID.channels, UInt64(clamping: channelCount))
                }
            }
        }
        entry.write(voidOf: Self.slotByteCount - entry.bytes.count)
        changes.append(.replace(at: slotsAt + (number - 1) * Self.slotByteCount, entry.bytes))
        return number
    }

    /// Adds a frame.
    ///
    /// - Parameters:
    ///   - payload: the encoded picture or block of sound.
    ///   - number: the track, as `addTrack` gave it.
    ///   - nanoseconds: its time from the beginning; one that is not after the track's last, or lies before the current
    ///     cluster, is moved to the first millisecond that is free.
    ///   - isKeyFrame: whether a player can begin here.
    /// - Throws: `Failure` for a track that is not there, or a frame that is too large.
    package mutating func write(
        _ payload: [UInt8],
        track number: Int,
        nanoseconds: Int64,
        isKeyFrame: Bool
    ) throws(Failure) {
        guard !isFinished, tracks.indices.contains(number - 1) else { throw .unknownTrack }
        guard payload.count <= Self.frameByteLimit else { throw .tooLarge }
        let isVideo = tracks[number - 1].codec.isVideo
        let time = max(
            0,
            tracks[number - 1].lastTime + 1,
            nanoseconds / 1_000_000 + (nanoseconds % 1_000_000 >= 500_000 ? 1 : 0)
        )
        let startsCluster = beginsCluster(at: time, isKeyFrame: isKeyFrame, isVideo: isVideo)
        if startsCluster { beginCluster(at: time) }
        guard let open = cluster else { return }
        // Of another track's cluster that began later than this frame.
        let placed = max(time, open.milliseconds)
        tracks[number - 1].lastTime = placed
        if startsCluster, isVideo ? isKeyFrame : !hasVideo {
            addCue(placed, track: number, clusterContentAt: open.contentAt)
        }
        var block = EBMLWriter()
        block.write(id: EBMLID.simpleBlock)
        block.write(size: payload.count + 4)
        let relative = UInt16(truncatingIfNeeded: placed - open.milliseconds)
        block.write([
            UInt8(truncatingIfNeeded: number) | 0x80, UInt8(relative >> 8), UInt8(relative & 0xFF),
            isKeyFrame || !isVideo ? 0x80 : 0,
        ])
        block.write(payload)
        append(block.bytes)
        cluster?.byteCount += block.bytes.count
        endMilliseconds = max(endMilliseconds, placed + (isVideo ? 33 : 20))
    }

    /// Ends the file: index, sizes, duration.
    package mutating func finish() {
        guard !isFinished else { return }
        endCluster()
        isFinished = true
        let cuesAt = byteCount
        if !cues.isEmpty {
            var writer = EBMLWriter()
            writer.write(EBMLID.cues) { list in
                for cue in cues {
                    list.write(EBMLID.cuePoint) { point in
                        point.write(EBMLID.cueTime, UInt64(clamping: cue.time))
                        point.write(EBMLID.cueTrackPositions) { position in
                            position.write(EBMLID.cueTrack, UInt64(cue.track))
                            position.write(EBMLID.cueClusterPosition, UInt64(cue.position))
                        }
                    }
                }
            }
            append(writer.bytes)
        }
        complete(cuesAt: cues.isEmpty ? nil : cuesAt)
    }

    /// Ends a file that can take no more bytes, as on a full disk: sizes and duration, without an index, for which the room
    /// may be what is missing.
    ///
    /// - Parameter wholeByteCount: what the file holds of all that was appended; it ends between two appended pieces.
    package mutating func breakOff(at wholeByteCount: Int) {
        guard wholeByteCount >= slotsAt + Self.trackLimit * Self.slotByteCount else { return }
        isFinished = true
        changes = []
        byteCount = min(byteCount, wholeByteCount)
        // One whose head has no room is not there.
        if let cluster, cluster.contentAt <= byteCount { endCluster() }
        complete(cuesAt: nil)
    }

    /// Writes over what was kept free in the head, and over the segment's size.
    private mutating func complete(cuesAt: Int?) {
        var writer = EBMLWriter()
        writer.write(EBMLID.duration, Double(endMilliseconds))
        changes.append(.replace(at: durationAt, writer.bytes))
        var head = EBMLWriter()
        head.write(EBMLID.seekHead) { head in
            var targets = [(EBMLID.info, infoAt), (EBMLID.tracks, tracksAt)]
            if let cuesAt { targets.append((EBMLID.cues, cuesAt)) }
            for (id, offset) in targets {
                head.write(EBMLID.seek) { seek in
                    seek.write(EBMLID.seekID, EBMLWriter.bigEndian(UInt64(id), byteCount: 4))
                    seek.write(EBMLID.seekPosition, UInt64(offset - segmentStart))
                }
            }
        }
        head.write(voidOf: Self.seekHeadByteCount - head.bytes.count)
        changes.append(.replace(at: seekHeadAt, head.bytes))
        changes.append(.replace(at: segmentStart - 8, EBMLWriter.longSize(byteCount - segmentStart)))
    }

    /// What is to be done to the file since the last call, in this order.
    package mutating func takeChanges() -> [FileChange] {
        defer { changes = [] }
        return changes
    }

    private var hasVideo: Bool { tracks.contains { $0.codec.isVideo } }

    private func beginsCluster(at time: Int64, isKeyFrame: Bool, isVideo: Bool) -> Bool {
        guard let cluster else { return true }
        let age = time - cluster.milliseconds
        if age > Self.blockTimeLimit { return true }
        // "Key frames SHOULD be placed at the beginning of clusters"; many in a row need none each.
        if isVideo, isKeyFrame, age >= 1_000 { return true }
        return age >= Self.clusterMilliseconds || cluster.byteCount >= Self.clusterByteLimit
    }

    private mutating func beginCluster(at time: Int64) {
        endCluster()
        var writer = EBMLWriter()
        writer.write(id: EBMLID.cluster)
        writer.write(EBMLWriter.unknownSize)
        let headByteCount = writer.bytes.count
        writer.write(EBMLID.timestamp, UInt64(clamping: time))
        cluster = (byteCount + headByteCount, time, writer.bytes.count - headByteCount)
        append(writer.bytes)
    }

    private mutating func endCluster() {
        guard let cluster else { return }
        changes.append(.replace(at: cluster.contentAt - 8, EBMLWriter.longSize(byteCount - cluster.contentAt)))
        self.cluster = nil
    }

    private mutating func addCue(_ time: Int64, track: Int, clusterContentAt: Int) {
        if let last = cues.last, time - last.time < cueInterval { return }
        cues.append(Cue(time: time, track: track, position: clusterContentAt - 12 - segmentStart))
        guard cues.count >= Self.cueLimit else { return }
        cueInterval = max(2_000, cueInterval * 2)
        cues = cues.enumerated().filter { $0.offset % 2 == 0 }.map(\.element)
    }

    private mutating func append(_ bytes: [UInt8]) {
        byteCount += bytes.count
        changes.append(.append(bytes))
    }

    private static func cut(_ text: String) -> String {
        var text = text
        while text.utf8.count > 200 { text.removeLast() }
        return text
    }
}
