// Display: pictures for people: PNG files, terminals, a window. Each takes finished frames; none knows of connections.

internal import CYUV
package import Media

/// A picture in 8-bit RGB, rows without gaps.
package struct RGBPicture: Hashable, Sendable {
    package let width: Int
    package let height: Int
    package var bytes: [UInt8]

    package init(width: Int, height: Int, bytes: [UInt8]) {
        self.width = width
        self.height = height
        self.bytes = bytes
    }

    /// A frame, scaled if a size is given.
    package init(_ frame: VideoFrame, width: Int? = nil, height: Int? = nil) throws(MediaError) {
        let frame = try frame.scaled(width: width ?? frame.width, height: height ?? frame.height)
        self.width = frame.width
        self.height = frame.height
        var bytes = [UInt8](repeating: 0, count: frame.width * frame.height * 3)
        frame.withPlanes { planes in
            _ = unsafe bytes.withUnsafeMutableBufferPointer { target in
                unsafe I420ToRAW(
                    planes.y,
                    Int32(planes.strideY),
                    planes.u,
                    Int32(planes.strideUV),
                    planes.v,
                    Int32(planes.strideUV),
                    target.baseAddress,
                    Int32(frame.width * 3),
                    Int32(frame.width),
                    Int32(frame.height)
                )
            }
        }
        self.bytes = bytes
    }

    package subscript(x: Int, y: Int) -> (red: UInt8, green: UInt8, blue: UInt8) {
        let offset = (y * width + x) * 3
        return (bytes[offset], bytes[offset + 1], bytes[offset + 2])
    }
}

extension VideoFrame {
    /// The picture in another size; itself if it has that size.
    package func scaled(width: Int, height: Int) throws(MediaError) -> VideoFrame {
        guard width != self.width || height != self.height else { return self }
        return try VideoFrame(width: width, height: height, timestampNanoseconds: timestampNanoseconds) {
            planes throws(MediaError) in
            scale(into: planes, x: 0, y: 0, width: width, height: height)
        }
    }

    /// Draws the picture, scaled, into a place of another, which must lie inside it; `x` and `y` are even.
    package func scale(into target: borrowing VideoFrame.Planes, x: Int, y: Int, width: Int, height: Int) {
        withPlanes { source in
            _ = unsafe I420Scale(
                source.y,
                Int32(source.strideY),
                source.u,
                Int32(source.strideUV),
                source.v,
                Int32(source.strideUV),
                Int32(self.width),
                Int32(self.height),
                target.y + y * target.strideY + x,
                Int32(target.strideY),
                target.u + y / 2 * target.strideUV + x / 2,
                Int32(target.strideUV),
                target.v + y / 2 * target.strideUV + x / 2,
                Int32(target.strideUV),
                Int32(width),
                Int32(height),
                kFilterBox
            )
        }
    }
}
