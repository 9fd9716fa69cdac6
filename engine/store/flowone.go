package store

import "slices"

// Most operations are the end of one step's attempt and, perhaps, the birth of the next one. They are one statement each: what
// several statements cost that are made for many rows is more than the disk takes.

var flowOneTypes = slices.Concat(
	[]uint32{oidUUID, oidInt4, oidInt8, oidJSON},
	[]uint32{oidUUID, oidInt4, oidInt4, oidInt2, oidInt8, oidInt8, oidJSON, oidInt8, oidBytea, oidText, oidText, oidBytea, oidJSON},
	[]uint32{oidInt4, oidText, oidBool, oidBool, oidUUID, oidJSON},
	plainJobTypes, flowBornTypes[1:],
)

func init() { jobStatements["FlowOne"] = oids(flowOneTypes, false) }

// mostOnes is up to how many operations of a flush are sent one by one: many have the statements for many to share.
const mostOnes = 3

// one tells whether FlowOne does all of o.
func (o *FlowOp) one() bool {
	return !o.Again && len(o.Runs) == 1 && len(o.Ends) == 1 && len(o.Steps) <= 1 && len(o.Jobs) <= 1 &&
		len(o.Begins)+len(o.Births)+len(o.New)+len(o.Over)+len(o.Parks)+len(o.Caches)+len(o.Purges)+len(o.Args) == 0 &&
		(len(o.Steps) == 0 || o.Steps[0].Item == nil && o.Steps[0].Run == o.Runs[0].ID) &&
		(len(o.Jobs) == 0 || !o.Jobs[0].Run && o.Jobs[0].Gate == 0 && o.Jobs[0].Job.Parent != nil && *o.Jobs[0].Job.Parent == o.Runs[0].ID)
}

// sendOnes sends what can be sent so, and returns the others.
func (r *flowRows) sendOnes(list []*FlowOp, send sender) (rest []*FlowOp) {
	if len(list) > mostOnes {
		return list
	}
	for _, o := range list {
		if !o.one() {
			rest = append(rest, o)
			continue
		}
		r.fillOne(o)
		// Encoded one after another into one buffer set: send copies the parameters into the connection's buffer.
		send("FlowOne", r.one.scalars(), markDone([]*FlowOp{o}))
	}
	return rest
}

func (r *flowRows) fillOne(o *FlowOp) {
	c := r.one.reset()
	run, end := o.Runs[0], o.Ends[0]
	c[0].uuid(run.ID)
	c[1].int4(run.Rev)
	c[2].int8(o.Token)
	c[3].bytes(run.State)
	c[4].uuid(end.ID)
	addFlowEnd(c[2:], end)
	if len(o.Steps) == 1 {
		s := o.Steps[0]
		c[17].int4(s.N)
		c[18].text(s.Module)
		c[19].bool(s.OK)
		c[20].bool(s.Skipped)
		c[21].uuidOrNull(s.Job)
		c[22].bytes(s.Value)
	} else {
		nulls(c[17:23])
	}
	if len(o.Jobs) == 0 {
		nulls(c[23:])
		return
	}
	j := o.Jobs[0]
	c[23].uuid(j.Job.ID)
	addPlainFields(c[23:], &j.JobInsert)
	addBornFields(c[31:], j)
}

func nulls(c []column) {
	for i := range c {
		c[i].null()
	}
}
