package import Media

/// A place in a picture or window.
package struct PictureArea: Hashable, Sendable {
    package var x: Int
    package var y: Int
    package var width: Int
    package var height: Int

    package init(x: Int, y: Int, width: Int, height: Int) {
        self.x = x
        self.y = y
        self.width = width
        self.height = height
    }

    /// The largest place inside it for a picture of that size, in the middle, its shape kept.
    package func fitting(width pictureWidth: Int, height pictureHeight: Int) -> PictureArea {
        guard pictureWidth > 0, pictureHeight > 0, width > 0, height > 0 else { return self }
        var (fitWidth, fitHeight) = (width, pictureHeight * width / pictureWidth)
        if fitHeight > height { (fitWidth, fitHeight) = (pictureWidth * height / pictureHeight, height) }
        (fitWidth, fitHeight) = (max(1, fitWidth), max(1, fitHeight))
        return PictureArea(
            x: x + (width - fitWidth) / 2,
            y: y + (height - fitHeight) / 2,
            width: fitWidth,
            height: fitHeight
        )
    }
}

/// Where the pictures of a call go.
package enum PictureLayout {
    /// As many equal cells as there are pictures, in rows, the grid that leaves each the most room at 16:9.
    package static func cells(_ count: Int, width: Int, height: Int) -> [PictureArea] {
        guard count > 0, width > 0, height > 0 else { return [] }
        var best = (columns: 1, size: 0)
        for columns in 1...count {
            let rows = (count + columns - 1) / columns
            let cell = PictureArea(x: 0, y: 0, width: width / columns, height: height / rows)
            let size = cell.fitting(width: 16, height: 9).width
            if size > best.size { best = (columns, size) }
        }
        let columns = best.columns
        let rows = (count + columns - 1) / columns
        return (0..<count).map { index in
            let (row, column) = index.quotientAndRemainder(dividingBy: columns)
            let left = column * width / columns
            let top = row * height / rows
            return PictureArea(
                x: left,
                y: top,
                width: (column + 1) * width / columns - left,
                height: (row + 1) * height / rows - top
            )
        }
    }

    /// The corner for one's own picture: a quarter of the width, lower right.
    package static func preview(width: Int, height: Int, pictureWidth: Int, pictureHeight: Int) -> PictureArea {
        let margin = max(2, min(width, height) / 40)
        let corner = PictureArea(x: 0, y: 0, width: max(1, width / 4), height: max(1, height / 3))
            .fitting(width: pictureWidth, height: pictureHeight)
        return PictureArea(
            x: max(0, width - corner.width - margin),
            y: max(0, height - corner.height - margin),
            width: corner.width,
            height: corner.height
        )
    }

    /// All pictures in one, for what shows only one.
    package static func compose(
        _ pictures: [VideoFrame],
        preview: VideoFrame?,
        width: Int,
        height: Int,
        pool: VideoFramePool? = nil
    ) throws(MediaError) -> VideoFrame {
        try VideoFrame(width: width, height: height, timestampNanoseconds: 0, pool: pool) { planes throws(MediaError) in
            let chromaHeight = (height + 1) / 2
            unsafe planes.y.update(repeating: 16, count: planes.strideY * height)
            unsafe planes.u.update(repeating: 128, count: planes.strideUV * chromaHeight)
            unsafe planes.v.update(repeating: 128, count: planes.strideUV * chromaHeight)
            for (picture, cell) in zip(pictures, cells(pictures.count, width: width, height: height)) {
                draw(
                    picture,
                    cell.fitting(width: picture.width, height: picture.height),
                    into: planes,
                    width: width,
                    height: height
                )
            }
            guard let own = preview else { return }
            let whole = PictureArea(x: 0, y: 0, width: width, height: height)
            let area =
                pictures.isEmpty
                ? whole.fitting(width: own.width, height: own.height)
                : Self.preview(width: width, height: height, pictureWidth: own.width, pictureHeight: own.height)
            draw(own, area, into: planes, width: width, height: height)
        }
    }

    private static func draw(
        _ picture: VideoFrame,
        _ area: PictureArea,
        into planes: borrowing VideoFrame.Planes,
        width: Int,
        height: Int
    ) {
        // Colours come in pairs of pixels.
        let (x, y) = (area.x & ~1, area.y & ~1)
        let (areaWidth, areaHeight) = (min(area.width, width - x), min(area.height, height - y))
        guard areaWidth > 0, areaHeight > 0 else { return }
        picture.scale(into: planes, x: x, y: y, width: areaWidth, height: areaHeight)
    }
}
