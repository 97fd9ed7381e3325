// The version of h2spec that the peers tests run, and of all that it is made of.
module postern/peers/h2spec

go 1.18

require (
	github.com/fatih/color v1.16.0
	github.com/spf13/cobra v1.8.1
	github.com/summerwind/h2spec v2.2.1+incompatible
	golang.org/x/net v0.33.0
)
