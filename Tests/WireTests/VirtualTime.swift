import Testing

/// Suites that set the process-wide simulated clock run one after another.
@Suite(.serialized) enum VirtualTime {}
