// CoreDNS, reduced to what answers a cluster's names: the full one carries the clients of three cloud providers.
package main

import (
	"github.com/coredns/coredns/coremain"

	// A plugin registers itself when it is imported; the Corefile names those in use.
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
)

func main() {
	coremain.Run()
}
