-- key, and the value unless it is to be deleted. The version grows with changes only, so that a repetition is none.
local changed
if ARGV[2] then
  changed = redis.call('HGET', at('overrides'), ARGV[1]) ~= ARGV[2]
  redis.call('HSET', at('overrides'), ARGV[1], ARGV[2])
else
  changed = redis.call('HDEL', at('overrides'), ARGV[1]) == 1
end
if changed then redis.call('INCR', at('overrides_version')) end
