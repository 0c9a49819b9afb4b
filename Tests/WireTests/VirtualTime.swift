import Testing
import TimeSharing

/// Suites that set the process-wide simulated clock run one after another.
@Suite(.serialized, .virtualTime) enum VirtualTime {}
