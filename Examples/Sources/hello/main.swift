import PeerConnection

// Two peers in one program. Between machines, the offer and the answer would go through your signalling.
let caller = try RTCPeerConnection()
let callee = try RTCPeerConnection()
let chat = try caller.createDataChannel("chat")
let calleeEvents = callee.events

try await caller.setLocalDescription()
await caller.waitUntilGathered()
if let offer = caller.localDescription { try await callee.setRemoteDescription(offer) }
try await callee.setLocalDescription()
await callee.waitUntilGathered()
if let answer = callee.localDescription { try await caller.setRemoteDescription(answer) }

try await chat.waitUntilOpen()
try chat.send("Hello from Swift")
for await case .dataChannel(let channel) in calleeEvents {
    for await message in channel.messages {
        print(channel.label, message)
        caller.close()
    }
    break
}
