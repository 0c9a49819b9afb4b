internal import CYUV

/// How far a picture must be turned, clockwise, before it is shown.
public enum VideoRotation: Int, CaseIterable, Hashable, Sendable {
    /// It is upright.
    case none = 0
    /// A quarter to the right.
    case clockwise90 = 90
    /// Upside down.
    case clockwise180 = 180
    /// A quarter to the left.
    case clockwise270 = 270
}

extension VideoFrame {
    /// The picture cut to the shape of the wanted size, around its middle, and scaled to it.
    ///
    /// - Parameters:
    ///   - width: 1 ... ``dimensionLimit``.
    ///   - height: 1 ... ``dimensionLimit``.
    ///   - pool: where the memory comes from; nil allocates it.
    /// - Returns: the picture, this one itself if it has that size.
    /// - Throws: `MediaError.invalidArgument` for sizes out of range.
    public func scaled(
        toWidth width: Int,
        height: Int,
        pool: VideoFramePool? = nil
    ) throws(MediaError) -> VideoFrame {
        if width == self.width, height == self.height { return self }
        let crop = crop(toShapeOf: (width, height))
        return try VideoFrame(
            width: width,
            height: height,
            timestampNanoseconds: timestampNanoseconds,
            rotation: rotation,
            pool: pool
        ) { target throws(MediaError) in
            let status = withPlanes { source in
                unsafe I420Scale(
                    source.y + crop.y * source.strideY + crop.x,
                    CInt(source.strideY),
                    source.u + crop.y / 2 * source.strideUV + crop.x / 2,
                    CInt(source.strideUV),
                    source.v + crop.y / 2 * source.strideUV + crop.x / 2,
                    CInt(source.strideUV),
                    CInt(crop.width),
                    CInt(crop.height),
                    target.y,
                    CInt(target.strideY),
                    target.u,
                    CInt(target.strideUV),
                    target.v,
                    CInt(target.strideUV),
                    CInt(width),
                    CInt(height),
                    kFilterBox
                )
            }
            guard status == 0 else { throw MediaError(.codec, "video frame", "cannot be scaled to \(width)x\(height)") }
        }
    }

    /// The largest part in the middle that has the shape of `size`; it begins at even numbers, for the chroma.
    private func crop(toShapeOf size: (width: Int, height: Int)) -> (x: Int, y: Int, width: Int, height: Int) {
        // Out of range is refused where the frame is made.
        let limit = Self.dimensionLimit
        let (wantedWidth, wantedHeight) = (min(max(1, size.width), limit), min(max(1, size.height), limit))
        var (width, height) = (self.width, self.height)
        if width * wantedHeight > wantedWidth * height {
            width = max(1, min(width, (height * wantedWidth + wantedHeight / 2) / wantedHeight))
        } else {
            height = max(1, min(height, (width * wantedHeight + wantedWidth / 2) / wantedWidth))
        }
        return ((self.width - width) / 2 & ~1, (self.height - height) / 2 & ~1, width, height)
    }

    /// The picture turned by its ``rotation``, which is ``VideoRotation/none`` then.
    ///
    /// - Throws: `MediaError.codec` if libyuv cannot do it.
    public func upright(pool: VideoFramePool? = nil) throws(MediaError) -> VideoFrame {
        if rotation == .none { return self }
        let isTurned = rotation == .clockwise90 || rotation == .clockwise270
        let mode =
            switch rotation {
            case .none: kRotate0
            case .clockwise90: kRotate90
            case .clockwise180: kRotate180
            case .clockwise270: kRotate270
            }
        return try VideoFrame(
            width: isTurned ? height : width,
            height: isTurned ? width : height,
            timestampNanoseconds: timestampNanoseconds,
            pool: pool
        ) { target throws(MediaError) in
            let status = withPlanes { source in
                unsafe I420Rotate(
                    source.y,
                    CInt(source.strideY),
                    source.u,
                    CInt(source.strideUV),
                    source.v,
                    CInt(source.strideUV),
                    target.y,
                    CInt(target.strideY),
                    target.u,
                    CInt(target.strideUV),
                    target.v,
                    CInt(target.strideUV),
                    CInt(width),
                    CInt(height),
                    mode
                )
            }
            guard status == 0 else { throw MediaError(.codec, "video frame", "cannot be turned") }
        }
    }

    /// A black picture.
    ///
    /// - Throws: `MediaError.invalidArgument` for sizes out of range.
    public static func black(
        width: Int,
        height: Int,
        timestampNanoseconds: Int64,
        rotation: VideoRotation = .none
    ) throws(MediaError) -> VideoFrame {
        try VideoFrame(
            width: width,
            height: height,
            timestampNanoseconds: timestampNanoseconds,
            rotation: rotation
        ) { planes throws(MediaError) in
            let chroma = planes.strideUV * ((height + 1) / 2)
            unsafe planes.y.update(repeating: 16, count: planes.strideY * height)
            unsafe planes.u.update(repeating: 128, count: chroma)
            unsafe planes.v.update(repeating: 128, count: chroma)
        }
    }
}
