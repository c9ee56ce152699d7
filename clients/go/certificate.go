package cbrgateway

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// ClientCertificate presents a certificate to gateways that want one. Both are PEM.
func ClientCertificate(certificate, key []byte) Option {
	return func(s *settings) {
		pair, err := tls.X509KeyPair(certificate, key)
		if err != nil {
			s.err = fmt.Errorf("ClientCertificate: %w", err)
		}
		s.present(func() *tls.Certificate { return &pair })
	}
}

// ClientCertificateFiles presents the certificate in these files (PEM). They are read again when they have changed, for the next connection; files that cannot
// be used change nothing.
func ClientCertificateFiles(certificateFile, keyFile string) Option {
	return func(s *settings) {
		files := &pairInFiles{certificateFile: certificateFile, keyFile: keyFile}
		if err := files.read(); err != nil {
			s.err = fmt.Errorf("ClientCertificateFiles: %w", err)
		}
		s.present(files.newest)
	}
}

// present does so whatever authorities the gateway says that it trusts: its answer then tells what is wrong with the certificate.
func (s *settings) present(newest func() *tls.Certificate) {
	s.tls.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return newest(), nil }
}

type pairInFiles struct {
	certificateFile, keyFile string

	lock  sync.Mutex
	state [2]fileState
	pair  *tls.Certificate
}

// fileState changes with a file, also where a link leads to another one.
type fileState struct {
	changed time.Time
	size    int64
}

func (p *pairInFiles) newest() *tls.Certificate {
	p.lock.Lock()
	defer p.lock.Unlock()
	_ = p.read() // What there was before still counts.
	return p.pair
}

// read takes the pair over if the files have changed.
func (p *pairInFiles) read() error {
	var state [2]fileState
	for i, name := range []string{p.certificateFile, p.keyFile} {
		found, err := os.Stat(name)
		if err != nil {
			return err
		}
		state[i] = fileState{found.ModTime(), found.Size()}
	}
	if p.pair != nil && state == p.state {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(p.certificateFile, p.keyFile)
	if err != nil {
		return err
	}
	p.pair, p.state = &pair, state
	return nil
}
