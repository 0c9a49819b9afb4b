/// Which agent nominates.
///
/// RFC 8445 §6.1.1
package enum ICERole: Hashable, Sendable {
    case controlling
    case controlled

    var opposite: ICERole { self == .controlling ? .controlled : .controlling }
}
