import Foundation
import Locking
import Media
import Testing

@testable import Capture

/// What a desktop's portal and PipeWire say, and what is made of it when they say something else.
@Suite struct PortalStreams {
    // Made by PipeWire 0.3.65's own builder (spa/pod/builder.h) on a machine with its order of bytes.
    private static let format =
        "b80000000f0000000300040004000000010000000000000004000000030000000200000000000000020000000000000004000000"
        + "0300000001000000000000000100020000000000040000000300000008000000000000000300020000000000080000000a000000"
        + "20030000580200000400020000000000080000000b00000000000000010000000500020000000000280000001300000001000000"
        + "00000000080000000b0000001e0000000100000000000000010000001e00000001000000"
    private static let wish =
        "280100000f0000000300040003000000010000000000000004000000030000000200000000000000020000000000000004000000"
        + "03000000010000000000000001000200000000003400000013000000030000000000000004000000030000000800000008000000"
        + "0c000000070000000b000000090000000d0000000a0000000e000000000000000300020000000000280000001300000001000000"
        + "00000000080000000a00000080070000380400000100000001000000004000000040000004000200000000002800000013000000"
        + "0100000000000000080000000b00000000000000010000000000000001000000e803000001000000050002000000000028000000"
        + "130000000100000000000000080000000b0000001e0000000100000000000000010000001e00000001000000"
    private static let buffers =
        "600000000f000000040004000500000001000000000000001c000000130000000100000000000000040000000400000004000000"
        + "02000000100000000000000006000000000000001400000013000000040000000000000004000000040000000600000000000000"
    private static let header =
        "380000000f0000000500040006000000010000000000000004000000030000000100000000000000020000000000000004000000"
        + "040000002000000000000000"

    private func bytes(_ hexadecimal: String) -> [UInt8] {
        let digits = Array(hexadecimal.utf8)
        return stride(from: 0, to: digits.count - 1, by: 2).map {
            UInt8(String(decoding: digits[$0...($0 + 1)], as: UTF8.self), radix: 16) ?? 0
        }
    }

    @Test func `What is asked for is what PipeWire's own builder writes`() {
        #expect(PipeWireFormat.wish(framesPerSecond: 30) == bytes(Self.wish))
        // Compositors know no less than one a second.
        #expect(PipeWireFormat.wish(framesPerSecond: 0.1) == PipeWireFormat.wish(framesPerSecond: 1))
        #expect(PipeWireFormat.buffers == bytes(Self.buffers))
        #expect(PipeWireFormat.header == bytes(Self.header))
    }

    @Test func `A format is read, plain or as a choice`() throws {
        let plain = try PipeWireFormat(pod: bytes(Self.format))
        #expect(plain == PipeWireFormat(layout: .bgrx, width: 800, height: 600))
        let chosen = try PipeWireFormat(pod: bytes(Self.wish))
        #expect(chosen == PipeWireFormat(layout: .bgrx, width: 1920, height: 1080))
    }

    /// The format with other words at some places.
    private func changed(_ words: [Int: UInt32]) -> [UInt8] {
        var pod = bytes(Self.format)
        for (offset, word) in words {
            withUnsafeBytes(of: word) { pod.replaceSubrange(offset..<(offset + 4), with: $0) }
        }
        return pod
    }

    /// Where the format's number, width and height are.
    private let number = 80
    private let width = 104
    private let height = 108

    @Test func `Each form of pixels is told by its number, and others are refused`() throws {
        for (value, layout) in [
            (8, PixelLayout.bgrx), (12, .bgrx), (7, .rgbx), (11, .rgbx), (9, .xrgb), (13, .xrgb), (10, .xbgr),
            (14, .xbgr),
        ] {
            #expect(try PipeWireFormat(pod: changed([number: UInt32(value)])).layout == layout, "\(value)")
        }
        // I420, RGB of 24 bits, none.
        for value: UInt32 in [2, 15, 0, .max] {
            let error = #expect(throws: MediaError.self) { try PipeWireFormat(pod: changed([number: value])) }
            #expect(error?.kind == .notUsable && error?.message.contains("32 bits") == true)
        }
    }

    @Test func `Sizes that no picture has are refused with their numbers`() throws {
        for (wide, high) in [(0, 600), (800, 0), (100_000, 600), (800, 16_385), (UInt32.max, .max)]
            as [(UInt32, UInt32)]
        {
            let error = #expect(throws: MediaError.self) {
                try PipeWireFormat(pod: changed([width: wide, height: high]))
            }
            #expect(error?.kind == .notUsable && error?.message.contains("\(wide)x\(high)") == true)
        }
        #expect(try PipeWireFormat(pod: changed([width: 16_384, height: 1])).width == 16_384)
    }

    @Test func `A format that is cut, or of other bytes, never traps and never gives more than it says`() {
        let whole = bytes(Self.format)
        for count in 0..<whole.count {
            #expect(SPAPodObject(Array(whole.prefix(count))) == nil, "\(count)")
        }
        for offset in stride(from: 0, to: whole.count, by: 4) {
            for word: UInt32 in [0, 1, 7, 8, 16, 19, 0x7fff_ffff, 0x8000_0000, 0xffff_fff8, .max] {
                guard let format = try? PipeWireFormat(pod: changed([offset: word])) else { continue }
                #expect((1...16_384).contains(format.width) && (1...16_384).contains(format.height))
            }
        }
    }

    @Test func `A picture must lie inside its buffer, by what is said and by what is there`() {
        let format = PipeWireFormat(layout: .bgrx, width: 10, height: 4)
        func place(_ capacity: Int, _ offset: UInt32, _ size: UInt32, _ stride: Int32) -> PipeWireFormat.Place? {
            format.place(capacity: capacity, offset: offset, size: size, stride: stride)
        }
        let whole = PipeWireFormat.Place(offset: 0, bytesPerRow: 40, width: 10, height: 4)
        #expect(place(160, 0, 160, 40) == whole)
        // Senders that leave the stride out have rows without gaps.
        #expect(place(160, 0, 160, 0) == whole)
        // The last row needs no gap behind it.
        #expect(place(184, 0, 184, 48)?.bytesPerRow == 48)
        #expect(place(200, 40, 160, 40)?.offset == 40)
        let refused: [(Int, UInt32, UInt32, Int32)] = [
            (160, 0, 160, 39), (160, 0, 160, -40), (160, 0, 160, .min), (1 << 40, 0, .max, .max),
            (159, 0, 160, 40), (160, 0, 159, 40), (160, 1, 160, 40), (160, .max, 160, 40), (160, 0, 0, 40),
            (0, 0, 160, 40), (160, 0, .max, 41),
        ]
        for (capacity, offset, size, stride) in refused {
            #expect(place(capacity, offset, size, stride) == nil, "\(capacity) \(offset) \(size) \(stride)")
        }
        let largest = PipeWireFormat(layout: .bgrx, width: 16_384, height: 16_384)
        #expect(largest.place(capacity: .max, offset: .max, size: .max, stride: 1 << 20) == nil)
    }

    @Test func `The part that counts must be a part of the picture`() {
        let format = PipeWireFormat(layout: .bgrx, width: 10, height: 4)
        func place(_ x: Int, _ y: Int, _ width: Int, _ height: Int) -> PipeWireFormat.Place? {
            let crop = PixelRectangle(x: x, y: y, width: width, height: height)
            return format.place(capacity: 160, offset: 0, size: 160, stride: 40, crop: crop)
        }
        #expect(place(2, 1, 5, 3) == .init(offset: 48, bytesPerRow: 40, width: 5, height: 3))
        // None is told.
        #expect(place(7, 7, 0, 0) == .init(offset: 0, bytesPerRow: 40, width: 10, height: 4))
        let (least, most) = (Int(Int32.min), Int(UInt32.max))
        for (x, y, width, height) in [
            (0, 0, 11, 4), (-1, 0, 5, 4), (9, 3, 2, 1), (least, least, most, most), (0, 4, 1, 1),
        ] {
            #expect(place(x, y, width, height) == nil, "\(x) \(y) \(width) \(height)")
        }
    }

    // MARK: The portal's answers

    @Test func `A request's end is told by its number, and another form is none`() {
        func isSuccess(_ response: PortalReplies.Response?) -> Bool {
            if case .success = response { return true }
            return false
        }
        #expect(isSuccess(PortalReplies.response([.uint32(0), .dictionary([:])])))
        // libdbus cannot tell an empty dictionary from an empty array.
        #expect(isSuccess(PortalReplies.response([.uint32(0), .array([])])))
        if case .cancelled = PortalReplies.response([.uint32(1), .dictionary([:])]) {
        } else {
            Issue.record("not cancelled")
        }
        if case .ended = PortalReplies.response([.uint32(7), .dictionary([:])]) {} else { Issue.record("not ended") }
        for arguments: [DBusValue] in [
            [], [.uint32(0)], [.integer(0), .dictionary([:])], [.dictionary([:]), .uint32(0)],
            [.uint32(0), .array([.uint32(1)])], [.string("0"), .dictionary([:])],
        ] { #expect(PortalReplies.response(arguments) == nil) }
    }

    @Test func `The stream that was chosen is read from the form that it has, and from no other`() {
        func stream(_ value: DBusValue?, types: UInt32 = 3) -> PortalReplies.Stream? {
            PortalReplies.stream(value.map { ["streams": $0] } ?? [:], of: types)
        }
        func one(_ node: DBusValue, _ properties: DBusValue) -> DBusValue { .array([.structure([node, properties])]) }
        #expect(stream(one(.uint32(7), .dictionary(["source_type": .uint32(2)]))) == .init(node: 7, kind: .window))
        #expect(stream(one(.uint32(7), .dictionary(["source_type": .uint32(1)]))) == .init(node: 7, kind: .monitor))
        // What was not asked for is not believed.
        let other = one(.uint32(7), .dictionary(["source_type": .uint32(2)]))
        #expect(stream(other, types: 1) == .init(node: 7, kind: nil))
        #expect(stream(one(.uint32(7), .dictionary(["source_type": .string("2")]))) == .init(node: 7, kind: nil))
        #expect(stream(one(.uint32(7), .array([]))) == .init(node: 7, kind: nil))
        for value: DBusValue? in [
            nil, .uint32(7), .array([]), .array([.uint32(7)]), .array([.structure([])]),
            .array([.structure([.uint32(7)])]),
            one(.string("7"), .dictionary([:])), one(.integer(7), .dictionary([:])), one(.uint32(7), .uint32(7)),
            .dictionary(["a": .uint32(7)]),
        ] { #expect(stream(value) == nil) }
    }

    @Test func `The pointer is asked for in a way that the portal has`() throws {
        func abilities(_ version: UInt32, _ modes: UInt32?) throws -> PortalReplies.Abilities {
            var properties: [String: DBusValue] = ["version": .uint32(version)]
            if let modes { properties["AvailableCursorModes"] = .uint32(modes) }
            return try #require(PortalReplies.Abilities([.dictionary(properties)]))
        }
        for (version, modes, wish, mode, result) in [
            (4, 7, CursorCapture.always, 2, CursorCapture.always), (4, 7, .motion, 2, .always),
            (4, 7, .never, 1, .never),
            (4, 1, .always, 1, .never), (4, 2, .never, 2, .always), (4, 4, .always, nil, .never),
            (1, 7, .always, nil, .never),
            (2, nil, .always, nil, .never),
        ] as [(UInt32, UInt32?, CursorCapture, UInt32?, CursorCapture)] {
            let answer = try abilities(version, modes).cursor(wish)
            #expect(answer.mode == mode && answer.result == result, "\(version) \(String(describing: modes)) \(wish)")
        }
        for arguments: [DBusValue] in [[], [.uint32(4)], [.dictionary([:])], [.dictionary(["version": .string("4")])]] {
            #expect(PortalReplies.Abilities(arguments) == nil)
        }
        #expect(PortalReplies.descriptor([.uint32(3)]) == nil && PortalReplies.descriptor([]) == nil)
        #expect(PortalReplies.descriptor([.descriptor(.init(-1))]) == nil)
    }

    // MARK: D-Bus

    @Test func `A bus that is not there says where it was looked for`() throws {
        let folder = try TemporaryFolder()
        let address = "unix:path=\(folder.path)/none"
        let token = try DeviceThread(subject: "screen")
        let error = #expect(throws: MediaError.self) { try DBusConnection(token: token, address: address) }
        #expect(error?.kind == .notFound && error?.message.contains(address) == true)
        let nonsense = #expect(throws: MediaError.self) { try DBusConnection(token: token, address: "nonsense") }
        #expect(nonsense?.kind == .notFound)
    }
}
