package main

import (
	"path/filepath"

	"github.com/rs/zerolog"

	"github.com/millrace/millrace/engine/auth"
	"github.com/millrace/millrace/engine/secret"
)

// values makes the keeper of variables and resources.
func (d *daemon) values(gate *auth.Auth, log zerolog.Logger) (*secret.Values, error) {
	file := d.cfg.secretKey
	if file == "" {
		file = filepath.Join(d.cfg.data, "secret.key")
	}
	key, err := secret.LoadKey(file)
	if err != nil {
		return nil, err
	}
	return secret.New(secret.Config{DB: d.db, Gate: gate, Key: key, Log: log}), nil
}
