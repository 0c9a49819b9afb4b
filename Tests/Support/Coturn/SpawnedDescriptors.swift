package import Glibc

/// Has a child begin with its three descriptors alone; to be called after what opens those.
///
/// NIO's sockets are inherited, so a port that a test closes would stay taken as long as a child of another test lives.
package func keepNoDescriptors(_ actions: inout posix_spawn_file_actions_t) {
    // What is not open does not matter.
    for descriptor in 3..<4_096 as Range<Int32> { posix_spawn_file_actions_addclose(&actions, descriptor) }
}
