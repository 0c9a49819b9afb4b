internal import Glibc
internal import JSON
internal import PeerConnection
internal import Signaling

/// How files go between a page and rtc-peer: docs/SIGNALING.md, "Files".
enum FileConvention {
    static let protocolName = "rtc-peer-file"
    static let labelPrefix = "file:"
    static let chunkByteCount = 64 << 10
    /// Sending pauses above this and goes on below the other.
    static let highWater = 1 << 20
    static let lowWater = 256 << 10
    /// Largest file that is accepted, 64 GiB, so that a broken size cannot fill the disk unseen.
    static let byteLimit = 64 << 30
    static let nameByteLimit = 200

    /// A name that stays inside the download folder: the last path component without control characters.
    static func safeName(_ name: String) -> String {
        let last = name.split(whereSeparator: { $0 == "/" || $0 == "\\" }).last.map(String.init) ?? ""
        var clean = String(String.UnicodeScalarView(last.unicodeScalars.filter { $0.value >= 32 && $0.value != 127 }))
        while clean.hasPrefix(".") { clean.removeFirst() }
        while clean.utf8.count > nameByteLimit { clean.removeLast() }
        return clean.isEmpty ? "file" : clean
    }

    static func systemError(_ what: String) -> FileError {
        .system("\(what): \(unsafe String(cString: strerror(errno)))")
    }
}

/// Why a file did not arrive.
enum FileError: Error, CustomStringConvertible {
    case system(String)
    case refused(String)
    case broken(String)
    case hashDiffers

    var description: String {
        switch self {
        case .system(let text), .refused(let text), .broken(let text): text
        case .hashDiffers: "the file arrived altered: its SHA-256 differs"
        }
    }
}

/// Sends one file over a data channel of its own.
struct CallFileSender {
    let path: String

    func send(over connection: RTCPeerConnection) async throws -> TransferredFile {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileConvention.systemError("cannot open \(path)") }
        defer { close(descriptor) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw FileError.refused("\(path) is not a regular file")
        }
        let name = FileConvention.safeName(path)
        var options = RTCDataChannelInit()
        options.protocol = FileConvention.protocolName
        let channel = try connection.createDataChannel(FileConvention.labelPrefix + name, options: options)
        defer { channel.close() }
        channel.bufferedAmountLowThreshold = FileConvention.lowWater
        try await channel.waitUntilOpen()
        try channel.send(
            JSONValue.object([
                "name": .string(name), "size": .number(Double(status.st_size)),
                "type": .string("application/octet-stream"),
            ]).text
        )
        guard let hash = SHA256() else { throw FileError.broken("SHA-256 is not available") }
        var byteCount = 0
        var buffer = [UInt8](repeating: 0, count: FileConvention.chunkByteCount)
        while true {
            let count = unsafe read(descriptor, &buffer, buffer.count)
            if count < 0 { throw FileConvention.systemError("cannot read \(path)") }
            if count == 0 { break }
            hash.update(buffer[..<count])
            try channel.send(buffer[..<count])
            byteCount += count
            if channel.bufferedAmount > FileConvention.highWater { await channel.waitUntilBufferedAmountIsLow() }
        }
        let digest = hash.finish()
        try channel.send(JSONValue.object(["done": .bool(true), "sha256": .string(digest)]).text)
        for await message in channel.messages {
            guard case .text(let text) = message, let answer = try? JSONValue(parsing: text.utf8) else { continue }
            if let refusal = answer["error"]?.string { throw FileError.refused("the other side refused: \(refusal)") }
            guard answer["sha256"]?.string == digest else { throw FileError.hashDiffers }
            return TransferredFile(name: name, path: path, byteCount: byteCount, sha256: digest)
        }
        throw FileError.broken("the channel closed before \(name) was acknowledged")
    }
}

/// Receives one file from a data channel into a folder, under a name that is free there.
struct CallFileReceiver {
    let channel: RTCDataChannel
    let directory: String

    func receive() async throws -> TransferredFile {
        var messages = channel.messages.makeAsyncIterator()
        guard case .text(let head)? = await messages.next(), let header = try? JSONValue(parsing: head.utf8),
            let name = header["name"]?.string, let expected = header["size"]?.integer, expected >= 0,
            expected <= FileConvention.byteLimit
        else { return try refuse("the first message is not a file's header") }
        let safe = FileConvention.safeName(name)
        let partPath = "\(directory)/.\(safe).\(UInt32.random(in: 0 ... .max)).part"
        let descriptor = unsafe open(partPath, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            let error = FileConvention.systemError("cannot write to \(directory)")
            return try refuse("\(error)")
        }
        var isWhole = false
        defer {
            close(descriptor)
            if !isWhole { unsafe unlink(partPath) }
        }
        guard let hash = SHA256() else { return try refuse("SHA-256 is not available") }
        var byteCount = 0
        while let message = await messages.next() {
            switch message {
            case .binary(let bytes):
                byteCount += bytes.count
                guard byteCount <= expected else { return try refuse("more bytes than the \(expected) announced") }
                hash.update(bytes)
                try write(bytes, to: descriptor)
            case .text(let text):
                let digest = hash.finish()
                guard let tail = try? JSONValue(parsing: text.utf8), tail["done"]?.bool == true, byteCount == expected
                else { return try refuse("the file ended after \(byteCount) of \(expected) bytes") }
                if let announced = tail["sha256"]?.string, announced != digest { return try refuse("SHA-256 differs") }
                guard fsync(descriptor) == 0 else { throw FileConvention.systemError("cannot store \(safe)") }
                let path = try moveIntoPlace(partPath, name: safe)
                isWhole = true
                try? channel.send(
                    JSONValue.object(["received": .number(Double(byteCount)), "sha256": .string(digest)]).text
                )
                return TransferredFile(name: safe, path: path, byteCount: byteCount, sha256: digest)
            }
        }
        throw FileError.broken("the channel closed after \(byteCount) of \(expected) bytes of \(safe)")
    }

    private func refuse(_ reason: String) throws -> TransferredFile {
        try? channel.send(JSONValue.object(["error": .string(reason)]).text)
        throw FileError.refused(reason)
    }

    private func write(_ bytes: [UInt8], to descriptor: CInt) throws {
        var offset = 0
        while offset < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                unsafe Glibc.write(descriptor, buffer.baseAddress?.advanced(by: offset), buffer.count - offset)
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw FileConvention.systemError("cannot write to \(directory)")
            }
            offset += count
        }
    }

    /// Never overwrites: `name`, `name (1)`, `name (2)`.
    private func moveIntoPlace(_ partPath: String, name: String) throws -> String {
        for attempt in 0..<1_000 {
            let path = "\(directory)/\(attempt == 0 ? name : numbered(name, attempt))"
            if unsafe link(partPath, path) == 0 {
                unsafe unlink(partPath)
                return path
            }
            guard errno == EEXIST else { throw FileConvention.systemError("cannot store \(path)") }
        }
        throw FileError.system("too many files named \(name) in \(directory)")
    }

    private func numbered(_ name: String, _ number: Int) -> String {
        guard let dot = name.lastIndex(of: "."), dot != name.startIndex else { return "\(name) (\(number))" }
        return "\(name[..<dot]) (\(number))\(name[dot...])"
    }
}
