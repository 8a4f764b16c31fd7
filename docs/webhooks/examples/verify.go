// Checks one webhook, as a CGI program gets it: the body on standard input, headers and secret in the environment.
//
//	WEBHOOK_SECRET=whsec_… HTTP_WEBHOOK_ID=… HTTP_WEBHOOK_TIMESTAMP=… HTTP_WEBHOOK_SIGNATURE=… \
//	    go run verify.go standard [folder] < body
//
// `body` instead of `standard` checks X-Mailement-Signature or X-Maily-Signature. With a folder, `standard` keeps
// the ids there. Prints `first` or `again` and ends with 0; ends with 1 if the webhook is not genuine.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// region receive
// isGenuine takes the body as it arrived.
func isGenuine(secret string, header http.Header, body []byte) bool {
	sentID, sentAt := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(sentAt, 10, 64)
	if err != nil || sentID == "" || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return false
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return false
	}
	expected := "v1," + base64.StdEncoding.EncodeToString(sum(key, sentID+"."+sentAt+"."+string(body)))
	for _, one := range strings.Fields(header.Get("webhook-signature")) {
		if hmac.Equal([]byte(expected), []byte(one)) {
			return true
		}
	}
	return false
}

func sum(key []byte, content string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(content))
	return mac.Sum(nil)
}

// isSignedBody takes the value of X-Mailement-Signature or X-Maily-Signature.
func isSignedBody(secret, signature string, body []byte) bool {
	key := "whsec_" + strings.TrimPrefix(secret, "whsec_")
	expected := hex.EncodeToString(sum([]byte(key), string(body)))
	return hmac.Equal([]byte(expected), []byte(strings.TrimPrefix(signature, "sha256=")))
}

// isFirst comes after isGenuine, which knows the id to be ours: it becomes the name of a file.
func isFirst(folder, webhookID string) (bool, error) {
	file, err := os.OpenFile(filepath.Join(folder, webhookID), os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, file.Close()
}

// endregion

func main() {
	header := http.Header{}
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		if bare, ok := strings.CutPrefix(name, "HTTP_"); ok {
			header.Set(strings.ReplaceAll(bare, "_", "-"), value)
		}
	}
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	secret := os.Getenv("WEBHOOK_SECRET")
	signature := header.Get("X-Mailement-Signature") + header.Get("X-Maily-Signature")
	genuine := isSignedBody(secret, signature, body)
	if os.Args[1] == "standard" {
		genuine = isGenuine(secret, header, body)
	}
	if !genuine {
		os.Exit(1)
	}
	first := true
	if len(os.Args) > 2 {
		if first, err = isFirst(os.Args[2], header.Get("webhook-id")); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(map[bool]string{true: "first", false: "again"}[first])
}
