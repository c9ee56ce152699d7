use std::fmt;

use crate::v1;

/// The request of a list: an RPC with pages. All of them have it.
pub trait List: Clone + fmt::Debug + Unpin + Send + 'static {
    /// The answer.
    type Page: Unpin + Send + 'static;
    /// What is listed.
    type Row: Unpin + Send + 'static;

    /// Where the page begins; empty: at the beginning.
    fn page_token(&self) -> &str;
    /// Asks for the page with this token.
    fn set_page_token(&mut self, token: &str);
    /// Where the next page begins; empty: there is none.
    fn next_page_token(page: &Self::Page) -> &str;
    /// What is on a page.
    fn rows(page: Self::Page) -> Vec<Self::Row>;
}

/// The answer of a change that starts work which goes on after the call. All such answers have it.
pub trait Started {
    /// What was started; None: nothing that the gateway knows of.
    fn submission(&self) -> Option<&v1::Submission>;
}

macro_rules! lists {
    ($($request:ident: $page:ident { $rows:ident: $row:ident },)*) => {
        $(impl List for v1::$request {
            type Page = v1::$page;
            type Row = v1::$row;

            fn page_token(&self) -> &str {
                &self.page_token
            }

            fn set_page_token(&mut self, token: &str) {
                token.clone_into(&mut self.page_token);
            }

            fn next_page_token(page: &Self::Page) -> &str {
                &page.next_page_token
            }

            fn rows(page: Self::Page) -> Vec<Self::Row> {
                page.$rows
            }
        })*

        #[cfg(test)]
        const LISTS: &[(&str, &str)] = &[$((stringify!($request), stringify!($rows))),*];
    };
}

macro_rules! started {
    ($($answer:ident,)*) => {
        $(impl Started for v1::$answer {
            fn submission(&self) -> Option<&v1::Submission> {
                self.submission.as_ref()
            }
        })*

        #[cfg(test)]
        const STARTED: &[&str] = &[$(stringify!($answer)),*];
    };
}

// prost's messages do not know their own fields. A test compares these with the descriptors.
lists! {
    ListBackupsRequest: ListBackupsResponse { backups: Backup },
    ListStorageUsageRequest: ListStorageUsageResponse { storage_usage: StorageUsage },
    ListBackupMembersRequest: ListBackupMembersResponse { members: Member },
    ListPoliciesRequest: ListPoliciesResponse { policies: Policy },
    ListVaultsRequest: ListVaultsResponse { vaults: Vault },
    ListExternalVaultsRequest: ListExternalVaultsResponse { vaults: Vault },
    ListVaultTagsRequest: ListVaultTagsResponse { tags: Tag },
    ListProjectVaultTagsRequest: ListProjectVaultTagsResponse { tags: TagValues },
    QueryVaultsByTagRequest: QueryVaultsByTagResponse { resources: TaggedVault },
    ListLimitsRequest: ListLimitsResponse { limits: Limit },
    ListUsagesRequest: ListUsagesResponse { usages: QuotaUsage },
    ListReservationsRequest: ListReservationsResponse { reservations: Reservation },
    ListAgentsRequest: ListAgentsResponse { agents: Agent },
    ListTasksRequest: ListTasksResponse { tasks: Task },
    ListSubmissionsRequest: ListSubmissionsResponse { submissions: Submission },
    ListOrganizationPoliciesRequest: ListOrganizationPoliciesResponse { policies: OrganizationPolicy },
    ListOrganizationPolicyDeploymentsRequest: ListOrganizationPolicyDeploymentsResponse { deployments: OrganizationPolicyDeployment },
    ListProtectablesRequest: ListProtectablesResponse { instances: Protectable },
    ListUnprotectedResourcesRequest: ListUnprotectedResourcesResponse { resources: UnprotectedResource },
    ListExpiringBackupsRequest: ListExpiringBackupsResponse { backups: ExpiringBackup },
    GenerateReportRequest: GenerateReportResponse { rows: ReportRow },
    ListRegionProjectsRequest: ListRegionProjectsResponse { projects: RegionProject },
    ListDomainProjectsRequest: ListDomainProjectsResponse { projects: DomainProject },
}

started! {
    CreateCheckpointResponse,
    DeleteBackupResponse,
    DeleteVaultResponse,
    MigrateVaultResourcesResponse,
    RemoveVaultResourcesResponse,
    ReplicateBackupResponse,
    ReplicateCheckpointResponse,
    RestoreBackupResponse,
    SyncBackupsResponse,
    SyncCheckpointResponse,
    UpdateBackupExpirationResponse,
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use prost::Message;
    use prost_types::field_descriptor_proto::{Label, Type};
    use prost_types::{DescriptorProto, FileDescriptorSet};

    use super::*;

    fn has(message: &DescriptorProto, field: &str) -> bool {
        message.field.iter().any(|each| each.name() == field)
    }

    /// The repeated field of messages with the lowest number.
    fn rows(message: &DescriptorProto) -> &str {
        let rows = message.field.iter().filter(|field| field.label() == Label::Repeated && field.r#type() == Type::Message);
        rows.min_by_key(|field| field.number()).expect("a list has rows").name()
    }

    #[test]
    fn all_lists_and_all_answers_that_start_work_are_known() {
        let set = FileDescriptorSet::decode(crate::DESCRIPTORS).expect("the descriptors are part of this package");
        let messages: HashMap<_, _> =
            set.file.iter().flat_map(|file| &file.message_type).map(|each| (each.name(), each)).collect();
        let named = |path: &str| messages[path.rsplit('.').next().expect("it has a name")];
        let (mut lists, mut started) = (BTreeSet::new(), BTreeSet::new());
        for method in set.file.iter().flat_map(|file| &file.service).flat_map(|service| &service.method) {
            let (request, answer) = (named(method.input_type()), named(method.output_type()));
            if has(request, "page_token") && has(answer, "next_page_token") {
                lists.insert((request.name(), rows(answer)));
            }
            if has(request, "request_id") && has(answer, "submission") {
                started.insert(answer.name());
            }
        }
        assert_eq!(lists, LISTS.iter().copied().collect());
        assert_eq!(started, STARTED.iter().copied().collect());
    }
}
