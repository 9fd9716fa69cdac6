package client

import (
	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/web/wire"
)

// The shapes that methods take and return, so that callers need no other package.
type (
	Job          = wire.Job
	Maybe        = wire.Maybe
	Update       = wire.Update
	Count        = wire.Count
	Preview      = wire.Preview
	FlowPreview  = wire.FlowPreview
	Script       = wire.Script
	NewScript    = wire.NewScript
	LockText     = wire.LockText
	Version      = wire.Version
	Me           = wire.Me
	Member       = wire.Member
	NewMember    = wire.NewMember
	Group        = wire.Group
	NewGroup     = wire.NewGroup
	GroupMember  = wire.GroupMember
	NewToken     = wire.NewToken
	MemberToken  = wire.MemberToken
	NewWorkspace = wire.NewWorkspace
	Worker       = wire.Worker
	GPU          = wire.GPU
	Schedule     = wire.Schedule
	NewSchedule  = wire.NewSchedule
	Tick         = wire.Tick
	Calendar     = wire.Calendar
	NewCalendar  = wire.NewCalendar
	Variable     = wire.Variable
	NewVariable  = wire.NewVariable
	EditVariable = wire.EditVariable
	Resource     = wire.Resource
	NewResource  = wire.NewResource
	Product      = wire.Product
	Batch        = wire.Batch
	BatchRow     = wire.BatchRow
	BatchUpdate  = wire.BatchUpdate
	RerunCount   = engine.RerunCount
	Token        = engine.Token
	Why          = engine.Why
	Contact      = engine.Contact
	Workspace    = engine.Workspace

	FlowDeployed = wire.FlowDeployed
	FlowListed   = wire.Flow
	FlowVersion  = wire.FlowVersion
	FlowRestart  = wire.Restart
	ResumeBody   = wire.ResumeBody
	FlowStatus   = engine.FlowStatus
	FlowModule   = engine.FlowStatusModule

	ScheduleWithJobs = wire.ScheduleWithJobs
	ScheduleRun      = wire.ScheduleRun
	SchedulePreview  = wire.SchedulePreview
)
