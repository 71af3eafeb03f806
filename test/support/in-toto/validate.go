// Reads a statement with provenance (SLSA v1) from standard input and judges it with in-toto's own library:
// unknown or missing fields, digests, resource descriptors.
package main

import (
	"fmt"
	"io"
	"os"

	provenance "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

func main() {
	text, err := io.ReadAll(os.Stdin)
	check(err)
	statement := &intoto.Statement{}
	check(protojson.Unmarshal(text, statement))
	check(statement.Validate())
	predicate, err := protojson.Marshal(statement.GetPredicate())
	check(err)
	said := &provenance.Provenance{}
	check(protojson.Unmarshal(predicate, said))
	check(said.Validate())
	materials := said.GetBuildDefinition().GetResolvedDependencies()
	fmt.Printf("%d subjects, %d materials\n", len(statement.GetSubject()), len(materials))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
