/// A server's certificate for `localhost` and 127.0.0.1, its key, and the authority that vouches for it; nobody's secret.
package enum TestCertificate {
    package static let authority = """
        -----BEGIN CERTIFICATE-----
        MIIBpjCCAU2gAwIBAgIUQ88ZTSDfzjHyiqD77QkxwbGvd00wCgYIKoZIzj0EAwIw
        KDEmMCQGA1UEAwwdUGVlckNvbm5lY3Rpb24gdGVzdCBhdXRob3JpdHkwIBcNMjYx
        MTIyMDY0NTQxWhgPMjEyNjEwMjkwNjQ1NDFaMCgxJjAkBgNVBAMMHVBlZXJDb25u
        ZWN0aW9uIHRlc3QgYXV0aG9yaXR5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
        N8YcBwqpjUGLDsVdgLmMJRmUr4UvwJwOk32uOrm+ZOrhE/QjitbjKUdkJGq1Q19X
        xhdAxG4CvhrbzBRQ//WHcKNTMFEwHQYDVR0OBBYEFLIvX0KyXTP8jmZL27lny2IO
        TGlzMB8GA1UdIwQYMBaAFLIvX0KyXTP8jmZL27lny2IOTGlzMA8GA1UdEwEB/wQF
        MAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgZ0y74paGALqmpbR7K2U84z6fGLKkd4NX
        nL4bnduLHs8CIEEYbsOKNbNcfEqalKwIHoU1B3xsWDbtAr+7PEgHNO/8
        -----END CERTIFICATE-----
        """

    package static let server = """
        -----BEGIN CERTIFICATE-----
        MIIBvTCCAWSgAwIBAgIUYTuUae396+Z8DTQQoH+8krATKPUwCgYIKoZIzj0EAwIw
        KDEmMCQGA1UEAwwdUGVlckNvbm5lY3Rpb24gdGVzdCBhdXRob3JpdHkwIBcNMjYx
        MTIyMDY0NTQxWhgPMjEyNjEwMjkwNjQ1NDFaMBQxEjAQBgNVBAMMCWxvY2FsaG9z
        dDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABCB4vDOaoIts5hfpra4DUYbomdT8
        jOhfISqQMdnmkylGwWebAyCx72pdkZdDuQ2QsfbMr16W3agrvd8cN7wk0UijfjB8
        MBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAJBgNVHRMEAjAAMBMGA1UdJQQM
        MAoGCCsGAQUFBwMBMB0GA1UdDgQWBBSPpvMol28HKQrFfVpmFFcv/Qqt2DAfBgNV
        HSMEGDAWgBSyL19Csl0z/I5mS9u5Z8tiDkxpczAKBggqhkjOPQQDAgNHADBEAiB1
        VdaqKJwscKgIN5Q3FUNzYR9Xkqk6mI66tol/df4SOgIgUTbz7LK0KTxMZ00HUjHi
        NQ/xvzLP0FD+6wR5OcUieTs=
        -----END CERTIFICATE-----
        """

    package static let key = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgCWZ3oVKB03qmOnLa
        xRYq+cckPFy9C5u6Sb50brHmitmhRANCAAQgeLwzmqCLbOYX6a2uA1GG6JnU/Izo
        XyEqkDHZ5pMpRsFnmwMgse9qXZGXQ7kNkLH2zK9elt2oK73fHDe8JNFI
        -----END PRIVATE KEY-----
        """
}
