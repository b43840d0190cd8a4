// An S3 endpoint that takes objects in and throws them away, as fast as Go reads them: what the upload benchmark
// measures clients against, so that the client is what limits. It answers what uploaders ask (put, multipart, head,
// list, location), verifies CRC32 where one is sent, and remembers sizes and checksums only. Signatures are not
// checked. Prints one line of JSON with its two URLs and the path of its certificate.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type object struct {
	size  int64
	etag  string
	crc32 string
}

var (
	objects  sync.Map // path -> object
	uploads  sync.Map // upload id -> *atomic.Int64 (bytes)
	nextID   atomic.Int64
	received atomic.Int64
	puts     atomic.Int64
	buffers  = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}
)

func fail(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, code)
}

// take reads a body and gives its size and CRC32. An aws-chunked body counts with its framing: nobody looks at it.
func take(r *http.Request) (int64, uint32, error) {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	wanted := r.Header.Get("x-amz-checksum-crc32") != ""
	var size int64
	var sum uint32
	for {
		n, err := r.Body.Read(*buffer)
		if wanted && n > 0 {
			sum = crc32.Update(sum, crc32.IEEETable, (*buffer)[:n])
		}
		size += int64(n)
		if err == io.EOF {
			received.Add(size)
			return size, sum, nil
		}
		if err != nil {
			return size, sum, err
		}
	}
}

func encode(sum uint32) string {
	return base64.StdEncoding.EncodeToString([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
}

func put(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if strings.Count(strings.Trim(r.URL.Path, "/"), "/") == 0 {
		w.WriteHeader(200) // create bucket
		return
	}
	uploadID := query.Get("uploadId")
	if uploadID == "" && r.Header.Get("If-None-Match") == "*" {
		if _, taken := objects.Load(r.URL.Path); taken {
			fail(w, 412, "PreconditionFailed")
			return
		}
	}
	size, sum, err := take(r)
	if err != nil {
		return
	}
	given := r.Header.Get("x-amz-checksum-crc32")
	if given != "" {
		if given != encode(sum) {
			fail(w, 400, "BadDigest")
			return
		}
		w.Header().Set("x-amz-checksum-crc32", given)
		w.Header().Set("x-amz-checksum-type", "FULL_OBJECT")
	}
	if decoded, err := strconv.ParseInt(r.Header.Get("x-amz-decoded-content-length"), 10, 64); err == nil {
		size = decoded
	}
	etag := fmt.Sprintf("%032x", nextID.Add(1))
	if md5, err := base64.StdEncoding.DecodeString(r.Header.Get("Content-MD5")); err == nil && len(md5) == 16 {
		etag = hex.EncodeToString(md5)
	}
	w.Header().Set("ETag", `"`+etag+`"`)
	if uploadID != "" {
		if total, ok := uploads.Load(uploadID); ok {
			total.(*atomic.Int64).Add(size)
		}
		return
	}
	puts.Add(1)
	objects.Store(r.URL.Path, object{size, etag, given})
}

func post(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	w.Header().Set("Content-Type", "application/xml")
	if _, begin := query["uploads"]; begin {
		id := fmt.Sprintf("upload-%d", nextID.Add(1))
		uploads.Store(id, new(atomic.Int64))
		fmt.Fprintf(w, "<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>", id)
		return
	}
	id := query.Get("uploadId")
	total, ok := uploads.LoadAndDelete(id)
	if !ok {
		fail(w, 404, "NoSuchUpload")
		return
	}
	io.Copy(io.Discard, r.Body)
	etag := fmt.Sprintf("%032x-1", nextID.Add(1))
	sum := r.Header.Get("x-amz-checksum-crc32")
	objects.Store(r.URL.Path, object{total.(*atomic.Int64).Load(), etag, sum})
	puts.Add(1)
	fmt.Fprintf(w, "<CompleteMultipartUploadResult><ETag>&quot;%s&quot;</ETag>", etag)
	if sum != "" {
		fmt.Fprintf(w, "<ChecksumCRC32>%s</ChecksumCRC32><ChecksumType>FULL_OBJECT</ChecksumType>", sum)
	}
	fmt.Fprint(w, "</CompleteMultipartUploadResult>")
}

func get(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/-/reset" {
		objects.Clear()
		uploads.Clear()
		json.NewEncoder(w).Encode(map[string]int64{"bytes": received.Swap(0), "objects": puts.Swap(0)})
		return
	}
	query := r.URL.Query()
	w.Header().Set("Content-Type", "application/xml")
	if _, ok := query["location"]; ok {
		fmt.Fprint(w, "<LocationConstraint></LocationConstraint>")
		return
	}
	if _, ok := query["uploads"]; ok {
		fmt.Fprint(w, "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>")
		return
	}
	if known, ok := objects.Load(r.URL.Path); ok {
		one := known.(object)
		w.Header().Set("ETag", `"`+one.etag+`"`)
		w.Header().Set("Content-Length", strconv.FormatInt(one.size, 10))
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		if one.crc32 != "" {
			w.Header().Set("x-amz-checksum-crc32", one.crc32)
			w.Header().Set("x-amz-checksum-type", "FULL_OBJECT")
		}
		w.WriteHeader(200)
		return
	}
	if strings.Count(strings.Trim(r.URL.Path, "/"), "/") > 0 {
		fail(w, 404, "NoSuchKey")
		return
	}
	if r.Method == "HEAD" {
		w.WriteHeader(200)
		return
	}
	type result struct {
		XMLName     xml.Name `xml:"ListBucketResult"`
		IsTruncated bool
		KeyCount    int
		MaxKeys     int
	}
	xml.NewEncoder(w).Encode(result{MaxKeys: 1000})
}

func handle(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case "PUT":
		put(w, r)
	case "POST":
		post(w, r)
	case "DELETE":
		w.WriteHeader(204)
	default:
		get(w, r)
	}
}

func certificate() (tls.Certificate, []byte) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "autodj bench sink"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses:           []net.IP{net.ParseIP("127.0.0.1")},
		DNSNames:              []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func main() {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	cert, certPEM := certificate()
	file, err := os.CreateTemp("", "autodj-sink-*.pem")
	if err != nil {
		panic(err)
	}
	file.Write(certPEM)
	file.Close()
	server := &http.Server{Handler: http.HandlerFunc(handle), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){} /* S3 speaks HTTP/1.1 */}
	go server.Serve(plain)
	go server.ServeTLS(secure, "", "")
	json.NewEncoder(os.Stdout).Encode(map[string]string{
		"http":  "http://" + plain.Addr().String(),
		"https": "https://" + secure.Addr().String(),
		"cert":  file.Name(),
	})
	io.Copy(io.Discard, os.Stdin) // until the benchmark is gone
	os.Remove(file.Name())
}
