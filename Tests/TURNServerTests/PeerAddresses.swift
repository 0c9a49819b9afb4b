import SansIO
import TURNServer
import Testing

@Suite struct PeerAddresses {
    private func permits(_ text: String, _ policy: PeerAddressPolicy = PeerAddressPolicy()) throws -> Bool {
        policy.permits(try #require(IPAddress(text), "\(text)"))
    }

    @Test(
        arguments: [
            "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255", "10.0.0.1", "172.16.0.1", "172.31.255.255",
            "192.168.0.1", "100.64.0.1", "100.127.255.255", "169.254.169.254", "192.0.0.8", "198.18.0.1", "224.0.0.1",
            "239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "febf::1", "fec0::1", "fc00::1",
            "fd12:3456::1", "ff02::1", "64:ff9b:1::1", "100::1", "2001::1",
        ]
    )
    func `What is not of the internet is out of bounds`(text: String) throws { #expect(try !permits(text)) }

    @Test(arguments: [
        "1.1.1.1", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "203.0.113.7", "2001:db8::1",
        "2606:4700::1", "2a00::1",
    ])
    func `What is of the internet is not`(text: String) throws { #expect(try permits(text)) }

    @Test(arguments: ["127.0.0.1", "10.1.2.3", "192.168.1.1", "169.254.169.254", "203.0.113.1"])
    func `An address in another's clothes is that address`(text: String) throws {
        var policy = PeerAddressPolicy()
        policy.own = [try #require(IPAddress("203.0.113.1"))]
        let parts = text.split(separator: ".").compactMap { UInt16($0) }
        func hex(_ value: UInt16) -> String { String(value, radix: 16) }
        let (high, low) = (hex(parts[0] << 8 | parts[1]), hex(parts[2] << 8 | parts[3]))
        for form in [
            "::ffff:\(text)", "::\(text)", "::ffff:0:\(text)", "64:ff9b::\(text)", "2002:\(high):\(low)::1",
            "2600::5efe:\(text)", "2600::200:5efe:\(text)", "2600:1:2:3:300:5efe:\(text)",
            "2002:808:808::5efe:\(text)", "2002:\(high):\(low)::5efe:8.8.8.8",
        ] {
            #expect(try !permits(form, policy), "\(form)")
        }
        for form in [
            "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1", "2600::5efe:8.8.8.8", "2600::5eff:\(text)",
            "2002:808:808::200:5efe:8.8.8.8",
        ] {
            #expect(try permits(form, policy), "\(form)")
        }
    }

    @Test func `The machine's own addresses are out of bounds`() throws {
        var policy = PeerAddressPolicy()
        #expect(try permits("203.0.113.1", policy))
        policy.own = [try #require(IPAddress("203.0.113.1"))]
        #expect(try !permits("203.0.113.1", policy))
        #expect(try permits("203.0.113.2", policy))
    }

    @Test func `A range that is named is open, all but everybody's and nobody's address`() throws {
        let policy = PeerAddressPolicy(allowed: [
            try #require(IPNetwork("192.168.1.0/24")), try #require(IPNetwork("fd00::/16")),
            try #require(IPNetwork("127.0.0.1")),
        ])
        for text in ["192.168.1.0", "192.168.1.255", "fd00:0:ffff::1", "127.0.0.1"] {
            #expect(try permits(text, policy))
        }
        for text in ["192.168.2.1", "192.168.0.255", "fd01::1", "127.0.0.2", "::ffff:192.168.1.1"] {
            #expect(try !permits(text, policy), "\(text)")
        }
        let all = PeerAddressPolicy(allowed: [try #require(IPNetwork("0.0.0.0/0")), try #require(IPNetwork("::/0"))])
        for text in ["127.0.0.1", "10.0.0.1", "::1", "fe80::1"] { #expect(try permits(text, all)) }
        for text in ["0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1"] { #expect(try !permits(text, all)) }
    }

    @Test func `Ranges are read, and nothing else`() throws {
        for text in ["10.0.0.0/8", "10.1.2.3/0", "1.2.3.4/32", "::/0", "fd00::/8", "2001:db8::1/128", "1.2.3.4", "::1"]
        {
            #expect(IPNetwork(text) != nil, "\(text)")
        }
        for text in [
            "", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0/8", "::/129", "::/+1",
            "a/8", "10.0.0.0/0008",
        ] {
            #expect(IPNetwork(text) == nil, "\(text)")
        }
        let odd = try #require(IPNetwork("2001:db8:0:8000::/65"))
        #expect(odd.contains(try #require(IPAddress("2001:db8:0:8000:7fff::1"))))
        #expect(!odd.contains(try #require(IPAddress("2001:db8:0:8000:8000::1"))))
        let narrow = try #require(IPNetwork("203.0.113.128/25"))
        #expect(narrow.contains(try #require(IPAddress("203.0.113.128"))))
        #expect(!narrow.contains(try #require(IPAddress("203.0.113.127"))))
    }
}
