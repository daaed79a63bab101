// Judges a bundle as OperatorHub does, with operator-framework's own library: the argument is the
// bundle's folder, each line of the output an error or a warning.
package main

import (
	"fmt"
	"os"

	"github.com/operator-framework/api/pkg/manifests"
	"github.com/operator-framework/api/pkg/validation"
	validator "github.com/operator-framework/api/pkg/validation/interfaces"
)

func main() {
	bundle, err := manifests.GetBundleFromDir(os.Args[1])
	if err != nil {
		panic(err)
	}
	checks := validator.Validators{
		validation.ClusterServiceVersionValidator,
		validation.CustomResourceDefinitionValidator,
		validation.BundleValidator,
		validation.OperatorHubValidator,
		validation.ObjectValidator,
	}
	for _, result := range checks.Validate(bundle.ObjectsToValidate()...) {
		for _, found := range append(result.Errors, result.Warnings...) {
			fmt.Println(found.Error())
		}
	}
}
