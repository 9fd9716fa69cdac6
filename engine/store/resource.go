package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/engine"
)

// ResourceInsert stores a new resource; false: its path is taken. With replace what is there is replaced.
func (db *DB) ResourceInsert(ctx context.Context, r *engine.Resource, replace bool) (bool, error) {
	name := "ResourceInsert"
	if replace {
		name = "ResourcePut"
	}
	tag, err := db.pool.Exec(ctx, q(name), r.Workspace, r.Path, r.Type, r.Value, r.Description, r.EditedBy)
	if err != nil {
		return false, fmt.Errorf("store resource %s: %w", r.Path, err)
	}
	return tag.RowsAffected() == 1, nil
}

// ResourceGet returns a resource; see IsNotFound.
func (db *DB) ResourceGet(ctx context.Context, ws, path string) (*engine.Resource, error) {
	r, err := scanResource(db.pool.QueryRow(ctx, q("ResourceGet"), ws, path))
	if err != nil {
		return nil, fmt.Errorf("read resource %s: %w", path, err)
	}
	return &r, nil
}

// ResourceList lists resources by path.
func (db *DB) ResourceList(ctx context.Context, ws string, f engine.ValueFilter) ([]engine.Resource, error) {
	rows, err := db.pool.Query(ctx, q("ResourceList"), ws, f.Path, f.PathStart, f.Type, f.TypeNot, f.Limit, f.Offset)
	if err != nil {
		return nil, fmt.Errorf("list resources: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (engine.Resource, error) { return scanResource(r) })
	if err != nil {
		return nil, fmt.Errorf("list resources: %w", err)
	}
	return list, nil
}

// ResourceUpdate changes a resource; false: there is none. See IsConflict.
func (db *DB) ResourceUpdate(ctx context.Context, ws, path string, c engine.ResourceChange, by string) (bool, error) {
	var value *string
	if c.Value != nil {
		s := string(c.Value)
		value = &s
	}
	tag, err := db.pool.Exec(ctx, q("ResourceUpdate"), ws, path, c.Path, c.Type, value, c.Description, by)
	if err != nil {
		return false, fmt.Errorf("store resource %s: %w", path, err)
	}
	return tag.RowsAffected() == 1, nil
}

// ResourceDelete deletes a resource; false: there is none.
func (db *DB) ResourceDelete(ctx context.Context, ws, path string) (bool, error) {
	tag, err := db.pool.Exec(ctx, q("ResourceDelete"), ws, path)
	if err != nil {
		return false, fmt.Errorf("delete resource %s: %w", path, err)
	}
	return tag.RowsAffected() == 1, nil
}

func scanResource(row pgx.Row) (r engine.Resource, err error) {
	err = row.Scan(&r.Workspace, &r.Path, &r.Type, (*[]byte)(&r.Value), &r.Description, &r.CreatedBy, &r.EditedBy, &r.EditedAt)
	return r, err
}

// ResourceTypePut stores a type; false: there is one of this name, and it is not to be replaced.
func (db *DB) ResourceTypePut(ctx context.Context, t *engine.ResourceType, replace bool) (bool, error) {
	var schema *string
	if t.Schema != nil {
		s := string(t.Schema)
		schema = &s
	}
	tag, err := db.pool.Exec(ctx, q("ResourceTypePut"), t.Workspace, t.Name, schema, t.Description, t.FormatExtension, t.IsFileset, t.EditedBy, replace)
	if err != nil {
		return false, fmt.Errorf("store resource type %s: %w", t.Name, err)
	}
	return tag.RowsAffected() == 1, nil
}

// ResourceTypeGet returns a type; see IsNotFound.
func (db *DB) ResourceTypeGet(ctx context.Context, ws, name string) (*engine.ResourceType, error) {
	t, err := scanResourceType(db.pool.QueryRow(ctx, q("ResourceTypeGet"), ws, name))
	if err != nil {
		return nil, fmt.Errorf("read resource type %s: %w", name, err)
	}
	return &t, nil
}

// ResourceTypeList lists the types of a workspace by name.
func (db *DB) ResourceTypeList(ctx context.Context, ws string) ([]engine.ResourceType, error) {
	rows, err := db.pool.Query(ctx, q("ResourceTypeList"), ws)
	if err != nil {
		return nil, fmt.Errorf("list resource types: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (engine.ResourceType, error) { return scanResourceType(r) })
	if err != nil {
		return nil, fmt.Errorf("list resource types: %w", err)
	}
	return list, nil
}

// ResourceTypeDelete deletes a type; false: there is none.
func (db *DB) ResourceTypeDelete(ctx context.Context, ws, name string) (bool, error) {
	tag, err := db.pool.Exec(ctx, q("ResourceTypeDelete"), ws, name)
	if err != nil {
		return false, fmt.Errorf("delete resource type %s: %w", name, err)
	}
	return tag.RowsAffected() == 1, nil
}

func scanResourceType(row pgx.Row) (t engine.ResourceType, err error) {
	var schema *json.RawMessage
	err = row.Scan(&t.Workspace, &t.Name, &schema, &t.Description, &t.FormatExtension, &t.IsFileset, &t.EditedBy, &t.EditedAt)
	if schema != nil {
		t.Schema = *schema
	}
	return t, err
}
