-- Argo CD's health of a CNPGPlugin: resource.customizations.health.cnpgplugin.dev_CNPGPlugin in the
-- ConfigMap argocd-cm. It only reads, and must not fail on anything that a status may hold.
local function find(conditions, kind)
  if type(conditions) ~= "table" then
    return {}
  end
  for _, condition in ipairs(conditions) do
    if type(condition) == "table" and condition.type == kind then
      return condition
    end
  end
  return {}
end

local function tell(status, condition, otherwise)
  local words = otherwise
  if type(condition.message) == "string" and condition.message ~= "" then
    words = condition.message
    if type(condition.reason) == "string" then
      words = condition.reason .. ": " .. words
    end
  end
  return {status = status, message = words}
end

local status = obj.status
if type(status) ~= "table" then
  status = {}
end
local ready = find(status.conditions, "Ready")

if obj.metadata.deletionTimestamp ~= nil then
  return tell("Progressing", ready, "The resource is being deleted.")
end
if type(obj.spec) == "table" and obj.spec.suspend == true then
  return {status = "Suspended", message = "spec.suspend is set: the operator changes nothing."}
end
-- A new resource has observedGeneration -1; after a change, the conditions are about the last one.
if status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "The operator has not seen the last change yet."}
end
local stalled = find(status.conditions, "Stalled")
if stalled.status == "True" then
  return tell("Degraded", stalled, "Only a change by a person helps.")
end
if ready.status == "True" then
  return tell("Healthy", ready, "The plugin is Ready.")
end
if ready.status == "False" then
  return tell("Degraded", ready, "The plugin is not Ready.")
end
if ready.reason == "AwaitingApproval" then
  return tell("Suspended", ready, "A change waits for approval.")
end
return tell("Progressing", ready, "The operator has not reported yet.")
