import Testing

@testable import rtc_peer

/// When a call tries a camera or microphone again that it has lost.
@Suite struct DeviceReturns {
    @Test func `What no kernel tells of is tried again and again, as a sound server's microphone`() {
        var device = DeviceReturn(isHardware: false, isListed: true)
        #expect(device.wait == .zero)
        for _ in 0..<100 {
            device.tryFailed()
            #expect(device.wait == .seconds(2))
        }
        // A server that is gone may take its names from the list.
        device.devicesChanged(isListed: false, isInserted: false)
        #expect(device.wait == .seconds(2))
    }

    @Test func `A device that is there and refuses is tried again and again, as one that another program has`() {
        var device = DeviceReturn(isHardware: true, isListed: true)
        #expect(device.wait == .zero)
        for _ in 0..<100 {
            device.tryFailed()
            #expect(device.wait == .seconds(2))
        }
    }

    @Test func `A device that is gone is left alone until it is plugged in, and tried at once and quickly then`() {
        var device = DeviceReturn(isHardware: true, isListed: false)
        #expect(device.wait == nil)
        device.devicesChanged(isListed: false, isInserted: false)
        #expect(device.wait == nil)
        device.devicesChanged(isListed: true, isInserted: true)
        #expect(device.wait == .zero)
        var waits: [Duration] = []
        for _ in 0..<12 {
            device.tryFailed()
            waits.append(device.wait ?? .zero)
        }
        #expect(waits == Array(repeating: .milliseconds(500), count: 9) + Array(repeating: .seconds(2), count: 3))
        device.devicesChanged(isListed: false, isInserted: false)
        #expect(device.wait == nil)
    }
}
