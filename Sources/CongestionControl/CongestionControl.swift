// CongestionControl: how fast to send, and when each packet leaves.
//
// TransportFeedback/  when packets arrived, recorded for the sender's feedback; and what feedback says about ours
// Estimation/         the bit rate that the path carries: additive raise, multiplicative decrease
// Pacer/              the order and time in which packets leave
//
// Packets themselves are the RTP module's; here they are numbers, sizes and times.
